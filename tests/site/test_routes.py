"""Every address as every role: none without an expectation, nothing changed by who may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import time_machine
from django.contrib import admin
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import AuditEntry, Membership, User
from tests.site.pages import NOW, OF_ROWS, World, make_user, make_world, signed_in
from tests.site.routes import (
    API,
    OWN,
    PUBLIC,
    READ_AS_FILES,
    THEIR_OWN,
    all_routes,
    changing,
    files,
    for_support,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ours() -> World:
    return make_world("ours")


@pytest.fixture
def stranger() -> Client:
    """An administrator, of another account."""
    return signed_in(make_world("theirs", demo=False), name="eve")


def route_of(address: str) -> str:
    return resolve(address.partition("?")[0]).route


def _walked(world: World) -> list[str]:
    return [*world.addresses().values(), *changing(world), *for_support(world), *files(world), *READ_AS_FILES]


def test_every_address_has_an_expectation(ours: World) -> None:
    walked = {route_of(one) for one in _walked(ours)}
    routes = set(all_routes())
    for method, address in API:
        assert Client().generic(method, address).status_code == 401, (method, address)
        walked.add(route_of(address))
    unknown = routes - walked - PUBLIC - set(OWN)
    assert not unknown, "give each a line in tests/site/pages.py or tests/site/routes.py"
    assert set(OWN) | PUBLIC <= routes, "these are gone"


def test_nobody_changes_anything_but_an_administrator_of_the_account(ours: World, stranger: Client) -> None:
    support = signed_in(ours, Membership.Role.SUPPORT, "sam")
    nobody = Client()
    nobody.force_login(make_user("nobody", None, None))
    before = AuditEntry.objects.filter(account=ours.account).count()
    for address in changing(ours):
        of_row = "<int:" in route_of(address)
        assert Client().post(address).headers["Location"].startswith("/sign-in/?next="), address
        assert nobody.post(address).status_code == 403, address
        assert support.post(address).status_code == 403, address
        assert stranger.post(address).status_code == 404 or not of_row, address
        for client in (support, stranger, nobody):
            assert client.get(address).status_code in (403, 404, 405), address
    for name, address in ours.addresses().items():
        assert Client().post(address).status_code in (302, 405), name
        assert nobody.post(address).status_code in (403, 405), name
        assert support.post(address).status_code in (403, 405) or name in THEIR_OWN, name
        assert stranger.post(address).status_code in (404, 405) or name not in OF_ROWS, name
    assert AuditEntry.objects.filter(account=ours.account).count() == before


def test_what_support_staff_may_change_others_may_not(ours: World, stranger: Client) -> None:
    support = signed_in(ours, Membership.Role.SUPPORT, "sam")
    nobody = Client()
    nobody.force_login(make_user("nobody", None, None))
    for address in for_support(ours):
        assert Client().post(address).headers["Location"].startswith("/sign-in/?next="), address
        assert [client.post(address).status_code for client in (nobody, stranger)] == [403, 404], address
        assert [support.get(address).status_code, support.post(address).status_code] == [405, 302], address


def test_files_are_for_administrators_of_the_account(ours: World, stranger: Client) -> None:
    support, administrator = signed_in(ours, Membership.Role.SUPPORT, "sam"), signed_in(ours, name="maria")
    for address in files(ours):
        assert Client().get(address).status_code == 302, address
        assert support.get(address).status_code == 403, address
        theirs = stranger.get(address)
        assert theirs.status_code == 404 or "<int:" not in route_of(address), address
        assert b"@ours" not in theirs.getvalue(), address
        assert administrator.get(address).status_code == 200, address


def test_files_that_support_staff_read_hold_nothing_of_another_account(ours: World, stranger: Client) -> None:
    support = signed_in(ours, Membership.Role.SUPPORT, "sam")
    nobody = Client()
    nobody.force_login(make_user("nobody", None, None))
    for address in READ_AS_FILES:
        assert [client.get(address).status_code for client in (Client(), nobody)] == [302, 403], address
        own, other = (b"".join(client.get(address)).decode() for client in (support, stranger))
        of_ours = ours.account.audit.latest("number").hash
        assert (of_ours in own, of_ours in other) == (True, False), address


def test_what_is_the_users_own_needs_a_user_and_no_account() -> None:
    nobody = Client()
    nobody.force_login(make_user("nobody", None, None))
    for route, status in OWN.items():
        if route != "sign-out/":
            assert nobody.get(f"/{route}").status_code == status, route
            assert Client().get(f"/{route}").status_code in (302, 405), route


def test_the_platform_administrator_sees_every_page_and_alone_the_django_admin(
    ours: World, stranger: Client
) -> None:
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    root.post("/account/", {"account": ours.account.pk})
    for name, address in ours.addresses().items():
        assert root.get(address).status_code == 200, name
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert root.get(address).status_code == 200, address
        assert stranger.get(address).headers["Location"].startswith("/admin/login/"), address
        assert Client().get(address).status_code == 302, address
