"""E-mail through the alert relay of `ALERT_EMAIL_URL`, which is no monitored route."""

from __future__ import annotations

import io
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import parseaddr
from typing import Any

import environ
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.utils.translation import gettext as _

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure
from notifications.transports.bounded import ANSWER_BYTES, Received

# For one answer of the relay, and for the answers to a whole message: it then ends within 60 s.
ANSWER_SECONDS = 15
MESSAGE_SECONDS = 45


# Relays may end a connection after so many messages; a new one costs little.
MESSAGES_PER_CONNECTION = 100

_CLOSING = 421  # the relay ends the connection with this answer (RFC 5321 3.8)
_thread = threading.local()


def send(message: Rendered) -> str:
    """Hand one e-mail to the relay; its last reply is returned."""
    kept: _Line | None = getattr(_thread, "line", None)
    if kept is not None:
        return kept.send(message)
    with closing(_Line()) as line:
        return line.send(message)


@contextmanager
def kept_open() -> Iterator[None]:
    """While inside, this thread's messages share a connection. Each still has its own result."""
    with closing(_Line()) as line:
        _thread.line = line
        try:
            yield
        finally:
            _thread.line = None


class _Line:
    """A connection to the relay: opened with the first message, again after a loss and after many."""

    def __init__(self) -> None:
        self._relay: _Relay | None = None
        self._carried = 0

    def send(self, message: Rendered) -> str:
        if self._carried >= MESSAGES_PER_CONNECTION:
            self.close()
        if self._relay is not None:
            try:
                return self._transact(self._relay, message)
            except _Lost:
                pass  # the relay had hung up meanwhile, or wants to: the next connection is a new one
        try:
            return self._transact(self._opened(), message)
        except _Lost as lost:
            raise lost.failure from None

    def close(self) -> None:
        """QUIT and close. What was sent has its result by now."""
        if self._relay is not None:
            self._relay.hang_up()
        self._relay, self._carried = None, 0

    def _opened(self) -> _Relay:
        relay = _relay()
        try:
            relay.open()
        except smtplib.SMTPResponseException as error:
            relay.hang_up()
            words = f"{error.smtp_code} {_decoded(error.smtp_error)}"
            raise TemporaryFailure(words, everybody=True) from None
        except (smtplib.SMTPException, OSError) as error:
            relay.hang_up()
            raise TemporaryFailure(_said(error), everybody=True) from None
        self._relay, self._carried = relay, 0
        return relay

    def _transact(self, relay: _Relay, message: Rendered) -> str:
        """One message over the open connection; closes it unless it can carry another one."""
        session = relay.connection
        assert isinstance(session, _Session)
        if self._carried:
            session.begin()
        self._carried += 1
        usable = False
        try:
            relay.send_messages([_mail(message)])
            usable = True
            return session.words
        except smtplib.SMTPRecipientsRefused as refused:
            code, answer = refused.recipients.get(message.to) or next(iter(refused.recipients.values()))
            usable, reply = code != _CLOSING, _decoded(answer)
            raise _failure_at_recipient(code, reply) if usable else _closing(reply) from None
        except smtplib.SMTPResponseException as error:
            usable, reply = error.smtp_code != _CLOSING, _decoded(error.smtp_error)
            if not usable:
                raise _closing(reply) from None
            about_us = isinstance(error, smtplib.SMTPSenderRefused)
            raise TemporaryFailure(f"{error.smtp_code} {reply}", everybody=about_us) from None
        except (smtplib.SMTPException, OSError) as error:
            perhaps = session.whole_message_sent
            failure = TemporaryFailure(_said(error), perhaps_sent=perhaps)
            raise failure if perhaps or isinstance(error, TimeoutError) else _Lost(failure) from None
        finally:
            if not usable:
                self.close()


class _Lost(Exception):  # noqa: N818
    """The connection is gone, and the message was not taken."""

    def __init__(self, failure: TemporaryFailure) -> None:
        super().__init__()
        self.failure = failure


def _closing(reply: str) -> _Lost:
    return _Lost(TemporaryFailure(f"{_CLOSING} {reply}", everybody=True))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def relay_options(url: str) -> dict[str, Any]:
    """What an ALERT_EMAIL_URL says. Raises ValueError when it is not the address of an SMTP relay."""
    try:
        config = environ.Env.email_url_config(url)
    except Exception as error:
        raise ValueError(_("it is not the URL of an SMTP relay")) from error
    if (
        config.get("EMAIL_BACKEND") != "django.core.mail.backends.smtp.EmailBackend"
        or not config["EMAIL_HOST"]
    ):
        raise ValueError(_("it is not the URL of an SMTP relay"))
    tls, ssl = bool(config.get("EMAIL_USE_TLS")), bool(config.get("EMAIL_USE_SSL"))
    return {
        "host": config["EMAIL_HOST"],
        "port": config["EMAIL_PORT"] or (465 if ssl else 587 if tls else 25),
        "username": config["EMAIL_HOST_USER"] or "",
        "password": config["EMAIL_HOST_PASSWORD"] or "",
        "use_tls": tls,
        "use_ssl": ssl,
    }


def _relay() -> _Relay:
    if not settings.ALERT_EMAIL_URL:
        raise TemporaryFailure(_("ALERT_EMAIL_URL is not set: no e-mail can be sent."), everybody=True)
    try:
        return _Relay(timeout=ANSWER_SECONDS, **relay_options(settings.ALERT_EMAIL_URL))
    except ValueError as error:
        raise TemporaryFailure(_("ALERT_EMAIL_URL: %s") % error, everybody=True) from None


def _mail(message: Rendered) -> EmailMultiAlternatives:
    domain = parseaddr(settings.ALERT_FROM)[1].rpartition("@")[2] or "localhost"
    mail = EmailMultiAlternatives(
        message.subject,
        message.text,
        settings.ALERT_FROM,
        [message.to],
        headers={
            "Message-ID": f"<continuity.{message.message_id}@{domain}>",
            "Auto-Submitted": "auto-generated",  # RFC 3834: no holiday answers
            "X-Auto-Response-Suppress": "All",
        },
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    return mail


def _failure_at_recipient(code: int, reply: str) -> TemporaryFailure | PermanentFailure:
    """A 5xx to RCPT is about the address, unless the enhanced status says policy, system or network."""
    words = f"{code} {reply}"
    if code >= 500 and not reply.startswith(("5.7.", "5.3.", "5.4.", "5.5.")):
        return PermanentFailure(words)
    return TemporaryFailure(words)


def _decoded(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


class _Relay(EmailBackend):
    """Django's SMTP backend, with sessions that say how far they came."""

    @property
    def connection_class(self) -> type[_Session]:
        return _TlsSession if self.use_ssl else _Session

    @property
    def unfinished(self) -> smtplib.SMTP | None:
        session: smtplib.SMTP | None = getattr(self, "_partial_connection", None)
        return session

    def hang_up(self) -> None:
        """QUIT and close, whatever the relay makes of it: the message's fate is known by now."""
        for session in (self.connection, self.unfinished):
            if session is None:
                continue
            try:
                if session.sock is not None:
                    session.sock.settimeout(2)
                    session.docmd("QUIT")
            except (smtplib.SMTPException, OSError):
                pass
            finally:
                session.close()
        self.connection = self._partial_connection = None


class _Session(smtplib.SMTP):
    whole_message_sent = False
    words = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.begin()
        super().__init__(*args, **kwargs)

    def begin(self) -> None:
        """The next message has its own time and its own fate."""
        self._deadline = time.monotonic() + MESSAGE_SECONDS
        self.whole_message_sent, self.words = False, ""

    def send(self, s: Any) -> None:
        if isinstance(s, bytes) and s.endswith(b"\r\n.\r\n"):
            self.whole_message_sent = True
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            if self.file is None:  # anew after STARTTLS
                self._received = Received(self._in_time)
                self.file = io.BufferedReader(self._received)
            self._received.room = ANSWER_BYTES
        return super().getreply()

    def _in_time(self) -> socket.socket:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(_("the relay took longer than %d s") % MESSAGE_SECONDS)
        assert self.sock is not None
        self.sock.settimeout(min(ANSWER_SECONDS, left))
        return self.sock

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, reply = super().data(msg)
        self.words = f"{code} {_decoded(reply)}"
        if code != 250:
            self.whole_message_sent = False
        return code, reply


class _TlsSession(smtplib.SMTP_SSL, _Session):
    pass
