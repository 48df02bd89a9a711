"""What every console page shows around its content: navigation and the state line."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from continuity_site import overview
from events.checklist_reads import left


def console(request: HttpRequest) -> dict[str, Any]:
    """`navigation` as (name, address, is here), `state_line` read only by pages that show it."""
    account = getattr(request, "account", None)
    if account is None:
        return {}
    here = request.path
    pages = [
        (_("Dashboard"), reverse("dashboard")),
        (_("Queue"), reverse("queue")),
        (_("Events"), reverse("events")),
        (_("History"), reverse("history")),
        (_("Monitors"), reverse("monitors")),
        (_("Contacts"), reverse("contacts")),
        (_("People"), reverse("people")),
        (_("Notices"), reverse("notices")),
        (_("Readiness"), reverse("readiness")),
        (_("Settings"), reverse("settings")),
    ]
    if account.is_demo:
        pages.append((_("Demo"), reverse("demo")))
    home = reverse("dashboard")
    checklists: Any = SimpleLazyObject(lambda: left(account.pk))
    return {
        "navigation": [
            (name, url, here == url or (url != home and here.startswith(url))) for name, url in pages
        ],
        "state_line": SimpleLazyObject(
            lambda: overview.state_line(account, timezone.now(), home, reverse("queue"), checklists)
        ),
        "checklists": checklists,
        "may_write": getattr(request, "role", None) == "administrator",
    }
