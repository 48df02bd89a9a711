"""What every address is that is no page of an account in `World.addresses()`: a new one gets a line here."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver

from tests.site.pages import World

# Answered without signing in: by a token of their own, a signature, or to everybody.
PUBLIC = {
    "sign-in/",
    "sign-in/code/",
    "sign-in/oidc/",
    "sign-in/oidc/back/",
    "m/<str:token>/",
    "m/<str:token>/<str:action>/",
    "me/<str:token>/",
    "receipts/^twilio/(?P<message_id>\\d{1,18}\\.\\d{1,18})/$",
    "healthz",
    "api/v1/",  # nothing is there
    "api/v1/openapi.json",
}
# The API, as (method, address): refused without a token.
API: list[tuple[str, str]] = [
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/events"),
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/events/active/extend"),
    ("POST", "/api/v1/events/active/stop"),
    ("GET", "/api/v1/suspensions"),
    ("POST", "/api/v1/suspensions"),
    ("DELETE", "/api/v1/suspensions/1"),
    ("POST", "/api/v1/pause"),
    ("POST", "/api/v1/resume"),
    ("GET", "/api/v1/audit"),
]
# Of the signed-in user, whatever account they look at.
OWN = {
    "account/": 405,
    "sign-out/": 405,
    "sign-in/second-factor/": 200,
    "sign-in/second-factor/qr.svg": 200,
    "you/": 200,
    "you/password/": 200,
    "you/recovery-codes/": 302,
    "you/second-factor/remove/": 200,
    "you/sessions/": 405,
}
# Change something though they are pages that support staff read: of their own, or what is theirs to do.
THEIR_OWN = {"zone", "calls"}
# Files of the account that is looked at, for support staff as for administrators.
READ_AS_FILES = ["/history/history.csv"]


def changing(world: World) -> list[str]:
    """Addresses of the account that change or give something by POST, for its administrators."""
    domain = f"/settings/domains/{world.domain.pk}/recipients"
    return [
        "/actions/stop/",
        f"/queue/{world.message.pk}/eml/",
        f"/queue/actions/{world.bulk.pk}/stop/",
        f"/queue/actions/{world.bulk.pk}/undo/",
        f"/monitors/{world.monitor.pk}/threshold/",
        f"/contacts/points/{world.contact.points.get().pk}/test/",
        f"/notices/{world.draft.pk}/start/",
        f"/events/{world.checklist.event_id}/notice/",
        f"/events/{world.checklist.event_id}/checklist/users/waive/",
        f"/settings/routes/{world.route.pk}/test/{world.test.pk}/arrived/",
        f"{domain}/add/",
        f"{domain}/remove/",
        f"{domain}/import/",
        "/settings/texts/outage/de/letter/",
        f"/people/{world.account.people.latest('pk').pk}/link/",
        "/people/links/",
        "/demo/send/",
        "/demo/server/",
    ]


def for_support(world: World) -> list[str]:
    """Addresses that change something by POST, for support staff as for administrators."""
    return [f"/events/calls/{world.active.calls.get().pk}/settle/"]


def files(world: World) -> list[str]:
    """Files that administrators fetch by GET."""
    return [
        f"/settings/domains/{world.domain.pk}/recipients/export/",
        f"/people/import/{world.account.person_imports.latest('pk').pk}/errors/",
        "/people/export/",
    ]


def all_routes() -> Iterator[str]:
    """Every address of the installation as its pattern, but for the Django admin."""
    return _below(get_resolver(), "")


def _below(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        elif route != "admin/":
            yield from _below(pattern, route)
