"""Password, second factor, lock-out: who gets in, who does not, and what is written of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import Account, AuditEntry, Membership, User
from accounts.services import SCHEDULER
from accounts.signin import rules, second_factor
from accounts.signin.sessions import Session

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
BEGIN = "2026-11-23 15:00:00+00:00"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(BEGIN, tick=False) as traveller:
        yield traveller


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Ours", slug="ours")


@pytest.fixture
def maria(account: Account) -> User:
    return member("maria", account)


def member(name: str, account: Account, role: Membership.Role = Membership.Role.ADMINISTRATOR) -> User:
    user = User.objects.create_user(name, password=PASSWORD)
    Membership.objects.create(user=user, account=account, role=role)
    return user


def password(client: Client, name: str = "maria", word: str = PASSWORD, address: str = "192.0.2.1") -> str:
    """Where the sign-in form leads, or what the page says."""
    response = client.post("/sign-in/", {"username": name, "password": word}, REMOTE_ADDR=address)
    return response.headers.get("Location") or f"{response.status_code} {response.content.decode()}"


def app_code(user: User, *, confirmed: bool = True) -> str:
    """What the user's authenticator app shows now."""
    device = TOTPDevice.objects.get(user=user, confirmed=confirmed)
    return f"{totp(device.bin_key):06}"


def set_up(client: Client, user: User) -> list[str]:
    """Set the second factor up as the pages have it; returns the recovery codes."""
    page = client.get("/sign-in/second-factor/").content.decode()
    device = TOTPDevice.objects.get(user=user, confirmed=False)
    assert re.search(r"<samp[^>]*>([A-Z2-7 ]{39})</samp>", page)
    assert client.get("/sign-in/second-factor/qr.svg").headers["Content-Type"] == "image/svg+xml"
    page = client.post(
        "/sign-in/second-factor/", {"code": app_code(user, confirmed=False), "password": PASSWORD}
    ).content.decode()
    device.refresh_from_db()
    assert device.confirmed
    codes = re.findall(r"<samp>([a-z2-7]{5}-[a-z2-7]{5})</samp>", page)
    assert len(set(codes)) == rules.RECOVERY_CODES
    return codes


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("action", flat=True))


@pytest.mark.parametrize(
    ("platform", "administers", "needed"),
    [
        (True, [], True),
        (False, [False], True),
        (False, [True, False], True),
        (False, [True], False),
        (False, [], False),
    ],
)
def test_who_needs_a_second_factor(platform: bool, administers: list[bool], needed: bool) -> None:
    assert rules.second_factor_needed(platform=platform, administers=administers) is needed


def test_codes_are_read_however_they_are_typed() -> None:
    assert [rules.totp(text) for text in (" 123 456", "123-456", "12345", "１２３４５６", "-12345", "")] == [
        "123456", "123456", None, None, None, None,
    ]  # fmt: skip
    assert rules.recovery("ABCDE 23456") == "abcde23456"
    assert rules.recovery("123456") is None


def test_an_administrator_sets_the_second_factor_up_first_and_gives_it_from_then_on(
    maria: User, clock: time_machine.Traveller
) -> None:
    client = Client()
    assert password(client) == "/"
    for address in ("/", "/queue/", "/you/", "/you/password/", "/admin/"):
        assert client.get(address).headers["Location"] == "/sign-in/second-factor/", address
        assert client.post(address).headers["Location"] == "/sign-in/second-factor/", address
    assert "Ours" not in client.get("/sign-in/second-factor/").content.decode()
    wrong = client.post("/sign-in/second-factor/", {"code": "000000"})
    assert "This is not the code" in wrong.content.decode()
    clock.shift(timedelta(seconds=30))
    set_up(client, maria)
    assert client.get("/queue/").status_code == 200
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"

    clock.shift(timedelta(minutes=1))
    other = Client()
    assert password(other) == "/sign-in/code/"
    assert other.get("/queue/").headers["Location"] == "/sign-in/?next=/queue/", "half is not in"
    assert other.post("/sign-in/code/", {"code": app_code(maria)}).headers["Location"] == "/"
    assert other.get("/queue/").status_code == 200
    assert actions() == ["user.signed_in", "user.second_factor_set", "user.signed_in"]
    last = AuditEntry.objects.latest("number")
    assert (last.actor_name, last.ip_address, last.details) == ("maria", "127.0.0.1", {"by": "app"})


def test_a_code_counts_once(maria: User, clock: time_machine.Traveller) -> None:
    client, thief = Client(), Client()
    password(client)
    codes = set_up(client, maria)
    clock.shift(timedelta(minutes=1))
    seen = app_code(maria)
    for browser in (client, thief):
        password(browser)
    client.post("/sign-out/")
    password(client)
    assert client.post("/sign-in/code/", {"code": seen}).status_code == 302
    assert "was used before" in thief.post("/sign-in/code/", {"code": seen}).content.decode()
    clock.shift(timedelta(minutes=1))
    written_down = codes[0].upper().replace("-", " ")
    page = thief.post("/sign-in/code/", {"code": written_down}, follow=True).content.decode()
    assert "You used a recovery code: 9 are left." in page
    another = Client()
    password(another)
    assert "was used before" in another.post("/sign-in/code/", {"code": codes[0]}).content.decode()
    assert AuditEntry.objects.filter(action="user.sign_in_failed").count() == 2
    everything = str(list(AuditEntry.objects.values())) + str(list(StaticToken.objects.values()))
    for secret in (seen, codes[0], codes[1].replace("-", ""), PASSWORD):
        assert secret not in everything


@pytest.mark.django_db(transaction=True)
def test_a_code_sent_by_many_at_once_counts_once(maria: User) -> None:
    offered = second_factor.offer(maria)
    recovery = second_factor.set_up(maria, f"{totp(offered.bin_key, drift=-1):06}", SCHEDULER, None)
    assert recovery

    def give(code: str) -> str | None:
        try:
            return second_factor.verify(maria, code)
        except second_factor.Wait:
            return None
        finally:
            connection.close()

    for code, by in ((app_code(maria), "app"), (recovery[0], "recovery")):
        with ThreadPoolExecutor(6) as pool:
            assert [one for one in pool.map(give, [code] * 6) if one] == [by]


def test_what_was_proven_half_goes_stale(maria: User, clock: time_machine.Traveller) -> None:
    client = Client()
    password(client)
    set_up(client, maria)
    late, changed = Client(), Client()
    for browser in (late, changed):
        assert password(browser) == "/sign-in/code/"
    maria.set_password("another long password")
    maria.save()
    assert changed.get("/sign-in/code/").headers["Location"] == "/sign-in/"
    maria.set_password(PASSWORD)
    maria.save()
    clock.shift(timedelta(minutes=11))
    assert late.get("/sign-in/code/").headers["Location"] == "/sign-in/"


def test_guessing_a_password_locks_out_that_name_at_that_address_only(
    maria: User, clock: time_machine.Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    guesser = Client()
    for n in range(settings.SIGN_IN_FAILURES - 1):
        assert "do not match" in password(guesser, word=f"guess {n}")
    assert "429" in password(guesser, word="one too many")
    clock.shift(timedelta(minutes=settings.SIGN_IN_LOCK_MINUTES - 1))
    locked = password(guesser)
    assert "Too many wrong tries" in locked
    assert "for 15 min after the last one" in locked
    assert password(Client(), address="198.51.100.7") == "/", "she herself, elsewhere"
    member("tom", Account.objects.get())
    assert password(guesser, "tom") == "/", "somebody else behind the same address"
    clock.shift(timedelta(minutes=2))
    assert password(Client()) == "/", "turned away tries do not make it longer"
    failures = ["user.sign_in_failed"] * settings.SIGN_IN_FAILURES
    assert sorted(actions())[:6] == ["user.locked_out", *failures]
    assert "guess" not in str(list(AuditEntry.objects.values())) + caplog.text


def test_a_name_that_does_not_exist_is_answered_and_locked_like_one_that_does(
    maria: User, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(settings.SIGN_IN_FAILURES + 1):
        pages = [
            re.sub(r'csrfmiddlewaretoken" value="\w+"|maria|nobody', "", password(Client(), name, "wrong"))
            for name in ("maria", "nobody")
        ]
        assert pages[0] == pages[1], n
    assert "429" in pages[0]
    assert "nobody" not in caplog.text


def test_guessing_codes_is_slowed_down_and_locks_out(maria: User, clock: time_machine.Traveller) -> None:
    client, guesser = Client(), Client()
    password(client)
    set_up(client, maria)
    clock.shift(timedelta(minutes=1))
    password(guesser, address="127.0.0.1")
    assert "This code is wrong" in guesser.post("/sign-in/code/", {"code": "000000"}).content.decode()
    assert "Try again in 1 second" in guesser.post("/sign-in/code/", {"code": "000000"}).content.decode()
    for n in range(1, settings.SIGN_IN_FAILURES):
        clock.shift(timedelta(seconds=2**n))
        guesser.post("/sign-in/code/", {"code": "000000"})
    clock.shift(timedelta(minutes=5))
    assert guesser.post("/sign-in/code/", {"code": app_code(maria)}).status_code == 429
    assert password(guesser, address="127.0.0.1").startswith("429")
    assert "user.locked_out" in actions()


def test_the_second_factor_is_replaced_with_the_password_and_ends_other_sessions(
    maria: User, clock: time_machine.Traveller
) -> None:
    client, forgotten = Client(), Client()
    password(client)
    password(forgotten)
    old = set_up(client, maria)
    assert forgotten.get("/you/").headers["Location"] == "/sign-in/?next=/you/", "signed out"
    before = TOTPDevice.objects.get(user=maria)
    page = client.get("/sign-in/second-factor/").content.decode()
    offered = TOTPDevice.objects.get(user=maria, confirmed=False)
    code = {"code": app_code(maria, confirmed=False)}
    assert offered.key != before.key
    assert before.key not in page
    refused = client.post("/sign-in/second-factor/", code | {"password": "wrong"}).content.decode()
    assert "This is not your password." in refused
    assert TOTPDevice.objects.get(user=maria, confirmed=True) == before
    new = set_up(client, maria)
    assert TOTPDevice.objects.get(user=maria).key == offered.key
    assert not set(old) & set(new)
    assert "not go without" in client.get("/you/second-factor/remove/", follow=True).content.decode()
    latest = client.post("/you/recovery-codes/", {"password": PASSWORD}).content.decode()
    assert new[0] not in latest
    assert StaticToken.objects.count() == rules.RECOVERY_CODES
    assert actions()[-2:] == ["user.second_factor_set", "user.recovery_codes_made"]


def test_support_may_have_a_second_factor_and_give_it_up(
    account: Account, clock: time_machine.Traveller
) -> None:
    sam = member("sam", account, Membership.Role.SUPPORT)
    client = Client()
    assert password(client, "sam") == "/"
    assert client.get("/queue/").status_code == 200
    set_up(client, sam)
    clock.shift(timedelta(minutes=1))
    other = Client()
    assert password(other, "sam") == "/sign-in/code/"
    assert "This is not your" in client.post("/you/second-factor/remove/", {"password": "x"}).content.decode()
    assert client.post("/you/second-factor/remove/", {"password": PASSWORD}).status_code == 302
    assert not TOTPDevice.objects.exists()
    assert password(other, "sam") == "/"


def test_sessions_are_seen_and_ended(maria: User, clock: time_machine.Traveller) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    client = Client(HTTP_USER_AGENT=firefox)
    password(client)
    set_up(client, maria)
    others = [Client(REMOTE_ADDR=f"203.0.113.{n}") for n in range(3)]
    for other in others:
        other.force_login(maria)
        other.get("/queue/")
    clock.shift(timedelta(minutes=5))
    others[0].get("/queue/")
    page = client.get("/you/").content.decode()
    assert "Firefox, Linux" in page
    assert re.findall(r"203\.0\.113\.\d", page)[0] == "203.0.113.0", "the one seen last comes first"
    for other in others:
        assert str(other.session.session_key) not in page, "its key would let in whoever reads it"
    name = Session.objects.get(pk=others[0].session.session_key).name
    page = client.post("/you/sessions/", {"session": name}, follow=True).content.decode()
    assert "1 session was signed out." in page
    assert [other.get("/queue/").status_code for other in others] == [302, 200, 200]
    member("sam", Account.objects.get(), Membership.Role.SUPPORT)
    stranger = Client()
    password(stranger, "sam")
    foreign = Session.objects.get(pk=stranger.session.session_key).name
    client.post("/you/sessions/", {"session": foreign})
    assert stranger.get("/queue/").status_code == 200, "somebody else's"
    client.post("/you/sessions/", {"session": "all"})
    assert [other.get("/queue/").status_code for other in others] == [302, 302, 302]
    assert client.get("/queue/").status_code == 200
    clock.shift(timedelta(hours=12))
    assert client.get("/queue/").status_code == 302, "a session ends, however often it was used"


def test_a_new_password_is_long_and_ends_other_sessions(maria: User) -> None:
    client, other = Client(), Client()
    for browser in (client, other):
        browser.force_login(maria)
    form = {"old_password": PASSWORD}
    for bad in ("short", "123456789012", "password1234"):
        page = client.post("/you/password/", form | {"new_password1": bad, "new_password2": bad})
        assert "Nothing was saved" in page.content.decode(), bad
    good = form | {"new_password1": "seven swans a-swimming", "new_password2": "seven swans a-swimming"}
    assert client.post("/you/password/", good).headers["Location"] == "/you/"
    assert client.get("/queue/").status_code == 200
    assert other.get("/queue/").status_code == 302
    assert not Session.objects.filter(pk=other.session.session_key).exists()
    assert actions() == ["user.password_changed"]


def test_lost_phone_and_codes_are_mended_on_the_command_line(maria: User) -> None:
    client = Client()
    password(client)
    set_up(client, maria)
    call_command("reset_second_factor", "maria")
    assert client.get("/queue/").headers["Location"] == "/sign-in/?next=/queue/"
    assert password(client) == "/"
    assert client.get("/queue/").headers["Location"] == "/sign-in/second-factor/"


def test_the_demo_needs_no_second_factor() -> None:
    demo = Account.objects.create(name="Demo", slug="demo", is_demo=True)
    member("demo", demo)
    client = Client()
    page = client.post("/sign-in/", {"username": "demo", "password": "wrong"}).content.decode()
    assert "do not match" in page
    form = {"username": "demo", "password": PASSWORD, "next": "/queue/"}
    assert client.post("/sign-in/", form).headers["Location"] == "/queue/"
    assert client.get("/sign-out/").status_code == 405
    assert client.get("/queue/").status_code == 200
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert client.get("/queue/").status_code == 302


def test_the_django_admin_is_for_the_platform_administrator_with_a_second_factor(account: Account) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    staff = member("staff", account, Membership.Role.SUPPORT)
    staff.is_staff = True
    staff.save()
    assert Client().get("/admin/", follow=True).redirect_chain[-1][0] == "/sign-in/?next=/admin/"
    client = Client()
    password(client, "staff")
    assert client.get("/admin/accounts/account/", follow=True).status_code == 403
    root = Client()
    assert password(root, "root") == "/"
    assert root.get("/admin/").headers["Location"] == "/sign-in/second-factor/"
    set_up(root, User.objects.get(username="root"))
    page = root.get("/admin/").content.decode()
    assert "Accounts" in page
    assert "TOTP" not in page, "whoever gets in there reads no secrets"
