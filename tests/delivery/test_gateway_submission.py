"""Mail to other organisations: from who signs in over TLS and from own networks, and from nobody else."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.hashers import make_password
from pytest_django import Settings

from accounts.models import Account
from delivery.gateway.submission import Guard
from delivery.models import DeliverySettings, Message, NextHop, Recipient, Route, SubmissionUser
from tests.support.couriers import running_courier
from tests.support.dns import dns_server
from tests.support.gateway import Client, RunningGateway, account, gateway, offers, stored
from tests.support.mailserver import MailServer
from tests.support.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery staple"
HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes a second each time


@pytest.fixture
def made() -> Account:
    made = account()
    Route.objects.create(account=made, name="out", kind=Route.Kind.OUTBOUND)
    return made


@pytest.fixture
def server(made: Account, settings: object) -> Iterator[RunningGateway]:
    settings.PASSWORD_HASHERS = HASHERS  # type: ignore[attr-defined]
    user(made)
    with gateway() as running:
        yield running


def user(made: Account, name: str = "scanner@one.example") -> SubmissionUser:
    return SubmissionUser.objects.create(account=made, username=name, password=make_password(PASSWORD))


class Sender(Client):
    """A client on the submission port, with TLS on."""

    def __init__(self, server: RunningGateway, *, signed_in: bool = True) -> None:
        super().__init__(server.submission_port)
        assert self.ask("STARTTLS").startswith("220")
        self.socket = ssl._create_unverified_context().wrap_socket(self.socket)
        self.offers = self.ask("EHLO client.example")
        if signed_in:
            assert self.sign_in().startswith("235 2.7.0")

    def sign_in(self, name: str = "scanner@one.example", password: str = PASSWORD) -> str:
        return self.ask("AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()).decode())


def test_smtplib_signs_in_and_sends_out_and_in(server: RunningGateway, made: Account) -> None:
    offers(made, smtputf8=True)
    with smtplib.SMTP("127.0.0.1", server.submission_port, local_hostname="client.example") as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login("Scanner@one.example", PASSWORD)
        to = ["x@far.example", "y@FAR.example", "z@bücher.example", "anna@one.example"]
        client.sendmail("anna@one.example", to, b"Subject: out\r\n\r\nx\r\n", ["SMTPUTF8"])
    out, inbound = Route.objects.get(name="out"), Route.objects.get(name="mail server")
    assert {
        (row.address, row.next_hop.route, row.next_hop.domain)
        for row in Recipient.objects.select_related("next_hop__route")
    } == {
        ("x@far.example", out, "far.example"),
        ("y@FAR.example", out, "far.example"),
        ("z@bücher.example", out, "xn--bcher-kva.example"),
        ("anna@one.example", inbound, ""),
    }
    message = Message.objects.get()
    assert message.authentic is True
    assert b" with UTF8SMTPSA (TLSv1.3" in bytes(message.content.data)[:300]
    assert stored() == [b"Subject: out\r\n\r\nx\r\n"]


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_plain_and_login_are_what_is_offered(server: RunningGateway, mechanism: str, initial: bool) -> None:
    with smtplib.SMTP("127.0.0.1", server.submission_port, local_hostname="client.example") as client:
        client.starttls(context=ssl._create_unverified_context())
        client.ehlo()
        client.user, client.password = "scanner@one.example", PASSWORD
        authenticate = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
        if mechanism == "CRAM-MD5":
            with pytest.raises(smtplib.SMTPAuthenticationError, match="504"):
                client.auth(mechanism, authenticate)
            return
        assert client.auth(mechanism, authenticate, initial_response_ok=initial)[0] == 235
        client.sendmail("anna@one.example", ["x@far.example"], b"x\r\n")
    assert Message.objects.count() == 1


def test_login_asks_for_name_and_password(server: RunningGateway) -> None:
    with Sender(server, signed_in=False) as client:
        assert client.ask("AUTH LOGIN") == "334 " + base64.b64encode(b"Username:").decode()
        assert client.ask(base64.b64encode(b"scanner@one.example").decode()).startswith("334 ")
        assert client.ask(base64.b64encode(PASSWORD.encode()).decode()).startswith("235 ")
        assert client.ask("AUTH LOGIN").startswith("503 ")
        assert "AUTH" not in client.ask("EHLO client.example")
        assert client.ask("MAIL FROM:<anna@one.example> AUTH=<>").startswith("250 ")


def test_nothing_goes_without_tls_and_signing_in(server: RunningGateway) -> None:
    plain = "AUTH PLAIN " + base64.b64encode(f"\0scanner@one.example\0{PASSWORD}".encode()).decode()
    with Client(server.submission_port) as client:
        assert "AUTH" not in client.ask("EHLO client.example")
        assert client.ask(plain).startswith("538 5.7.11")
        assert client.ask("MAIL FROM:<anna@one.example>").startswith("530 5.7.0 Say STARTTLS")
    with Sender(server, signed_in=False) as sender:
        assert "AUTH PLAIN LOGIN" in sender.offers
        assert "STARTTLS" not in sender.offers
        assert sender.ask("MAIL FROM:<anna@one.example>").startswith("530 5.7.0 Sign in")
        assert sender.ask("RCPT TO:<anna@one.example>").startswith("503")
    with Client(server.port) as mx:
        assert "AUTH" not in mx.ask("EHLO client.example")
        assert mx.ask(plain).startswith("502 5.5.1")
        assert mx.ask("MAIL FROM:<anna@one.example>").startswith("250")
        assert mx.ask("RCPT TO:<x@far.example>").startswith("550 5.7.1")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("PLAIN !!!", "501"),
        ("PLAIN " + base64.b64encode(b"no zeros").decode(), "501"),
        ("PLAIN " + base64.b64encode(b"other\0scanner@one.example\0x").decode(), "501"),
        ("PLAIN " + base64.b64encode(b"\0\xff\0x").decode(), "501"),
        ("PLAIN =", "501"),
        ("GSSAPI", "504"),
        ("", "504"),
    ],
)
def test_what_is_no_sign_in_is_refused(server: RunningGateway, answer: str, code: str) -> None:
    with Sender(server, signed_in=False) as client:
        assert client.ask(f"AUTH {answer}")[:3] == code
        assert client.sign_in().startswith("235")


def test_a_sign_in_can_be_called_off(server: RunningGateway) -> None:
    with Sender(server, signed_in=False) as client:
        assert client.ask("AUTH PLAIN") == "334 "
        assert client.ask("*").startswith("501 5.7.0")
        assert client.sign_in().startswith("235")


def test_only_the_accounts_own_domains_may_be_the_sender(server: RunningGateway) -> None:
    account("two")
    with Sender(server) as client:
        for sender in ("a@far.example", "a@two.example", "a@[127.0.0.1]"):
            assert client.ask(f"MAIL FROM:<{sender}>").startswith("553 5.7.1"), sender
        assert client.ask("MAIL FROM:<>").startswith("250")
        assert client.ask("RCPT TO:<x@far.example>").startswith("250")
        assert client.ask("RCPT TO:<nobody@one.example>").startswith("550 5.1.1")
        for nowhere in ("x@localhost", "x@[192.0.2.1]", "x@a..example", "x@-.example"):
            assert client.ask(f"RCPT TO:<{nowhere}>")[:3] in ("550", "553"), nowhere
    assert NextHop.objects.exclude(domain="").count() == 1


def test_without_an_outbound_route_the_sender_is_told(server: RunningGateway) -> None:
    Route.objects.filter(name="out").delete()
    with Sender(server) as client:
        client.ask("MAIL FROM:<anna@one.example>")
        assert client.ask("RCPT TO:<x@far.example>").startswith(
            "550 5.7.1 Your account has no outbound route"
        )
        assert client.ask("RCPT TO:<anna@one.example>").startswith("250")


def test_who_is_switched_off_sends_no_more(server: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.gateway.outbound.SECONDS", 0.0)
    with Sender(server) as client:
        SubmissionUser.objects.update(enabled=False)
        server.gateway.outbound.forget()
        assert client.ask("MAIL FROM:<anna@one.example>").startswith("530 5.7.0")
        assert client.sign_in().startswith("535 5.7.8")
        SubmissionUser.objects.update(enabled=True, password=make_password("another"))
        assert client.sign_in().startswith("535 5.7.8")
        assert client.sign_in(password="another").startswith("235")


def test_a_guesser_is_held_off(server: RunningGateway) -> None:
    answers = []
    for _ in range(4):
        with Sender(server, signed_in=False) as client:
            answers += [client.sign_in(password=f"guess {guess}")[:9] or "closed" for guess in range(4)]
    assert answers[:4] == ["535 5.7.8"] * 3 + ["closed"]
    assert answers.count("535 5.7.8") == 10
    assert "454 4.7.0" in answers
    with Sender(server, signed_in=False) as client:
        assert client.sign_in().startswith("454 4.7.0")  # the right one, too, from there


def test_a_users_lock_does_not_hold_where_the_user_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard()
    guard.succeeded("192.0.2.1", "anna")
    for number in range(20):
        guard.failed(f"198.51.100.{number}", "anna")
    assert guard.locked("203.0.113.1", "anna")
    assert not guard.locked("203.0.113.1", "bob")
    assert not guard.locked("192.0.2.1", "anna")
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 901)
    assert not guard.locked("203.0.113.1", "anna")


def test_what_the_guard_remembers_is_bounded() -> None:
    guard = Guard()
    for number in range(11_000):
        guard.failed(f"client {number}", f"user {number}")
        guard.succeeded(f"client {number}", f"user {number}")
    assert len(guard._failures) <= 10_000
    assert len(guard._trusted) <= 10_000


def test_checking_a_password_holds_up_nobody(server: RunningGateway, settings: object, made: Account) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # type: ignore[attr-defined]
    user(made, "slow@one.example")
    answered = 0
    with Sender(server, signed_in=False) as client, Client(server.port) as other:
        done: list[str] = []
        thread = threading.Thread(target=lambda: done.append(client.sign_in("slow@one.example")))
        thread.start()
        while thread.is_alive():
            other.ask("NOOP")
            answered += 1
            thread.join(0.002)
        thread.join()
    assert done[0].startswith("235")
    assert answered > 5, "a loop that checks the password itself answers one or two meanwhile"


# --- From the account's own networks ------------------------------------------------------------------


def allow(made: Account, *networks: str) -> None:
    DeliverySettings.objects.update_or_create(account=made, defaults={"outbound_networks": list(networks)})


def test_the_accounts_networks_send_out_by_the_mx_port(made: Account) -> None:
    allow(made, "192.0.2.0/24", "127.0.0.1")
    account("two")
    with gateway() as server, Client(server.port) as client:
        assert client.mail(b"x\r\n.\r\n", to="x@far.example", sender="anna@one.example").startswith("250")
        assert client.mail(b"y\r\n.\r\n", to="x@far.example", sender="").startswith("250")
        for foreign in ("bob@else.example", "anna@two.example"):
            client.ask(f"MAIL FROM:<{foreign}>")
            assert client.ask("RCPT TO:<x@far.example>").startswith("550 5.7.1")
            client.ask("RSET")
    assert {row.next_hop.domain for row in Recipient.objects.all()} == {"far.example"}
    assert [row.authentic for row in Message.objects.order_by("pk")] == [True, None]


def test_other_networks_do_not(made: Account) -> None:
    allow(made, "192.0.2.0/24")
    with gateway() as server, Client(server.port) as client:
        client.ask("MAIL FROM:<anna@one.example>")
        assert client.ask("RCPT TO:<x@far.example>").startswith("550 5.7.1")
        client.ask("RSET")
        assert client.mail(b"x\r\n.\r\n", sender="anna@one.example").startswith("250")
    assert Message.objects.get().authentic is True  # from a trusted network, in a domain of ours


def test_what_came_in_may_be_forwarded_out_and_come_back_by_a_list_but_not_in_again(made: Account) -> None:
    allow(made, "127.0.0.1")
    with gateway() as server, Client(server.port) as client:
        assert client.mail(b"Subject: a\r\n\r\nx\r\n.\r\n").startswith("250")
        came_in = bytes(Message.objects.get().content.data)
        sent = {"to": "x@far.example", "sender": "anna@one.example"}
        assert client.mail(came_in + b".\r\n", **sent).startswith("250")
        went_out = bytes(Message.objects.order_by("pk")[1].content.data)
        assert client.mail(went_out + b".\r\n").startswith("554 5.4.6")
        assert client.mail(b"Subject: b\r\n\r\nx\r\n.\r\n", **sent).startswith("250")
        only_out = bytes(Message.objects.order_by("-pk")[0].content.data)
        assert client.mail(only_out + b".\r\n").startswith("250")
        for turn in range(5):
            data = bytes(Message.objects.order_by("-pk")[0].content.data)
            answer = client.mail(data + b".\r\n", **sent)
            assert answer.startswith("250" if turn < 4 else "554 5.4.6"), turn


def test_the_database_away_is_a_temporary_answer(
    server: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sender(server) as client:
        from django.db import OperationalError

        def fails(*_: object) -> None:
            raise OperationalError("away")

        server.gateway.outbound.forget()
        monkeypatch.setattr("delivery.gateway.outbound._logins", fails)
        assert client.ask("MAIL FROM:<anna@one.example>").startswith("451 4.3.0")
        monkeypatch.undo()
        assert client.ask("MAIL FROM:<anna@one.example>").startswith("250")


def test_a_client_that_hangs_up_while_signing_in_harms_nobody(server: RunningGateway) -> None:
    with Sender(server, signed_in=False) as client:
        client.ask("AUTH LOGIN")
        client.socket.shutdown(socket.SHUT_RDWR)
    with Sender(server) as client:
        assert client.ask("NOOP").startswith("250")


def test_what_is_handed_in_reaches_the_other_organisation(server: RunningGateway, settings: Settings) -> None:
    with dns_server() as dns, MailServer() as far:
        settings.MX_PORT = far.port
        dns.add("far.example", "MX", "10 mx.far.example.")
        dns.add("mx.far.example", "A", "127.0.0.1")
        content = b"From: anna@one.example\r\nSubject: out\r\n\r\nHello\r\n"
        with running_courier(), smtplib.SMTP("127.0.0.1", server.submission_port) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login("scanner@one.example", PASSWORD)
            client.sendmail("anna@one.example", ["x@far.example"], content)
            far.wait_for(1)
            wait_until(lambda: Recipient.objects.get().state == Recipient.State.DELIVERED, "it is delivered")
        (mail,) = far.messages
        assert (mail.sender, mail.recipients) == ("anna@one.example", ("x@far.example",))
        assert mail.data.endswith(content)
