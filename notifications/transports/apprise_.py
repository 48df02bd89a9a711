"""SMS and app notifications through apprise, which speaks to some 180 services.

Apprise answers yes or no and tells the rest to its log. That log holds addresses, secrets and texts in
full, so it goes nowhere: what the provider said is read from it here, and the rest forgotten.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import apprise
import requests
from apprise import Apprise, AppriseAsset, NotifyFormat, PersistentStoreMode
from apprise.manager_plugins import NotificationManager
from django.conf import settings
from django.utils.translation import gettext as _

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure
from notifications.transports.bounded import ANSWER_BYTES, within

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
# Those are for each wait; a service that drips, or is asked several things, is left alone after this long.
MESSAGE_SECONDS = 60

# What an error of the connection says when the request never went out.
_NOT_SENT = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolution|Connection refused|getaddrinfo|certificate|SSLError"
    r"|ProxyError|No route to host|unreachable",
    re.IGNORECASE,
)
_CODE = re.compile(r"error[= ]\s*\(?(\d{3})\b")
# The service does not accept this address or its secrets: nothing that time would heal.
_REFUSED_FOR_GOOD = {401, 403, 410}


def send_sms(message: Rendered) -> str:
    """Send an SMS by ALERT_SMS_URL. A fault of that setting is not the contact point's."""
    if not settings.ALERT_SMS_URL:
        raise TemporaryFailure(_("ALERT_SMS_URL is not set: no SMS can be sent."), everybody=True)
    digits = re.sub(r"\D", "", message.to)
    plugin = _plugin(settings.ALERT_SMS_URL.replace("{to}", digits))
    if plugin is None:
        raise TemporaryFailure(_("ALERT_SMS_URL is not an address that apprise understands."), everybody=True)
    try:
        return _notify(plugin, "", message.text)
    except PermanentFailure as failure:
        raise TemporaryFailure(str(failure), everybody=True) from None


def send_app(message: Rendered) -> str:
    """Send an app notification by the contact point's own URL."""
    plugin = _plugin(message.to)
    if plugin is None:
        raise PermanentFailure(_("No notification service understands this address."))
    return _notify(plugin, message.subject, message.text)


def understood(url: str) -> bool:
    """Whether apprise knows the service of `url` and finds everything it needs in it."""
    return _plugin(url) is not None


def _plugin(url: str) -> apprise.NotifyBase | None:
    asset = AppriseAsset(app_id="Continuity", storage_mode=PersistentStoreMode.MEMORY, secure_logging=True)
    with _listening():
        try:
            plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        except Exception as error:  # its 180 parsers meet what somebody typed
            logger.warning("apprise could not read an address: %s", type(error).__name__)
            return None
    if plugin is not None:
        plugin.socket_connect_timeout = CONNECT_SECONDS
        plugin.socket_read_timeout = ANSWER_SECONDS
        plugin.redirects = False  # a POST that was redirected arrives as a GET, or where nobody looked
    return plugin


def _notify(plugin: apprise.NotifyBase, title: str, body: str) -> str:
    def notify() -> tuple[bool, _Heard]:
        with _listening() as heard:
            return bool(plugin.notify(body=body, title=title, body_format=NotifyFormat.TEXT)), heard

    try:
        accepted, heard = within(MESSAGE_SECONDS, notify)
    except TimeoutError:
        words = _("%s took too long.") % plugin.service_name
        raise TemporaryFailure(words, perhaps_sent=True) from None
    except Exception as error:
        # Nobody knows how far the plugin came.
        raise TemporaryFailure(type(error).__name__, perhaps_sent=True) from None
    if accepted:
        return _("accepted by %s") % plugin.service_name
    words = heard.words or _("%s did not accept it.") % plugin.service_name
    if heard.code in _REFUSED_FOR_GOOD:
        raise PermanentFailure(words)
    raise TemporaryFailure(words, perhaps_sent=heard.perhaps_sent, everybody=heard.everybody)


@dataclass
class _Heard:
    """What apprise's log said while one message was sent."""

    lines: list[str] = field(default_factory=list)
    code: int | None = None
    perhaps_sent: bool = False
    no_connection: bool = False

    @property
    def everybody(self) -> bool:
        """Whether any other message would have met the same: no connection, 429, 5xx."""
        return self.no_connection or self.code == 429 or (self.code or 0) >= 500

    @property
    def words(self) -> str:
        return " ".join(self.lines)[:500]

    def hear(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Response Details:"):
            self.lines.append(text.partition("\n")[2].strip())
        elif text.startswith("Socket Exception:"):
            # Its text quotes the whole URL: judged, never kept.
            self.perhaps_sent = not _NOT_SENT.search(text)
            self.no_connection = not self.perhaps_sent
            self.lines.append(_("No answer.") if self.perhaps_sent else _("No connection."))
        elif record.levelno >= logging.WARNING:
            found = _CODE.search(text)
            self.code = int(found[1]) if found else self.code
            self.lines.append(text)


class _ShortAnswers(requests.Session):
    """Reads no more of an answer than anybody will look at."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **kwargs | {"stream": True})
        response._content = next(response.iter_content(ANSWER_BYTES), b"")
        response.close()
        return response


# Used by all that apprise's services send, and by nothing else here.
requests.sessions.Session = _ShortAnswers  # type: ignore[misc]


class _Listener(logging.Handler):
    """The only handler of apprise's log: gives each thread its own lines."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.threads = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        heard: _Heard | None = getattr(self.threads, "heard", None)
        if heard is not None:
            heard.hear(record)


class _listening:  # noqa: N801
    """While inside, what apprise logs in this thread is heard."""

    def __enter__(self) -> _Heard:
        _listener.threads.heard = heard = _Heard()
        return heard

    def __exit__(self, *_error: object) -> None:
        _listener.threads.heard = None


_listener = _Listener()
_log = logging.getLogger("apprise")
_log.propagate = False
_log.setLevel(logging.DEBUG)
_log.handlers = [_listener]
# It tells the path of every request at DEBUG.
logging.getLogger("urllib3").setLevel(logging.INFO)

# All services are loaded at the first use of any; on Python 3.11 one of them imports a deprecated module.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    NotificationManager().load_modules()  # type: ignore[no-untyped-call]
