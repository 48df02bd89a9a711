"""SMS by Twilio's REST API, with receipts: https://www.twilio.com/docs/messaging/api/message-resource

ALERT_SMS_URL=twilio://ACCOUNT_SID:AUTH_TOKEN@FROM/{to}, where FROM is a number in E.164, a sender's name or
the SID of a messaging service. `?api=` names another address of the API, such as one of Twilio's regions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, http

API = "https://api.twilio.com"

# About the number itself, and nothing that we or time could change:
# https://www.twilio.com/docs/api/errors. All other refusals concern our account, our sender or the moment.
NUMBER_IS_NO_USE = {
    21211,  # invalid 'To' number
    21217,  # does not appear to be valid
    21610,  # its owner has replied STOP
    21614,  # not a mobile number
    21635,  # a landline
}
DELIVERED = {"delivered", "read"}
NOT_DELIVERED = {"undelivered", "failed", "canceled"}


@dataclass(frozen=True)
class Settings:
    """What ALERT_SMS_URL says."""

    account_sid: str
    auth_token: str
    sender: str
    api: str

    @classmethod
    def read(cls, url: str) -> Settings:
        """Raises ValueError, with words that hold no secret."""
        # By hand: names of senders know capital letters, which urlsplit takes from a host.
        form = re.fullmatch(r"twilio://([^:@/?#]+):([^:@/?#]+)@([^:@/?#]+)/?[^?]*(?:\?(.*))?", url.strip())
        if form is None:
            raise ValueError(_("it is not of the form twilio://ACCOUNT_SID:AUTH_TOKEN@FROM/{to}"))
        sid, token, sender = (unquote(part) for part in form.groups()[:3])
        if not re.fullmatch(r"AC[0-9a-fA-F]{32}", sid):
            raise ValueError(_("the account SID is AC and 32 digits from 0 to f"))
        if re.fullmatch(r"\d{7,15}", sender):
            sender = f"+{sender}"
        api = parse_qs(form[4] or "").get("api", [API])[0].rstrip("/")
        if urlsplit(api).scheme not in {"https", "http"} or not urlsplit(api).hostname:
            raise ValueError(_("api is not the address of a web server"))
        if urlsplit(api).scheme == "http" and not _is_here(api):
            raise ValueError(_("api must be an https address: it is sent the auth token"))
        return cls(sid, token, sender, api)


@dataclass(frozen=True)
class Receipt:
    """What Twilio tells of a message later. `delivered` is None while it is on its way."""

    delivered: bool | None
    number_is_no_use: bool
    words: str


def send(message: Rendered) -> str:
    """Hand one SMS to Twilio; what it said is returned. No fault of our settings disables a number."""
    try:
        ours = Settings.read(settings.ALERT_SMS_URL)
    except ValueError as error:
        raise TemporaryFailure(_("ALERT_SMS_URL: %s") % error, everybody=True) from None
    sender = "MessagingServiceSid" if re.fullmatch(r"MG[0-9a-fA-F]{32}", ours.sender) else "From"
    form = {"To": message.to, sender: ours.sender, "Body": message.text}
    callback = callback_url(message.message_id)
    if callback:
        form["StatusCallback"] = callback
    secret = base64.b64encode(f"{ours.account_sid}:{ours.auth_token}".encode()).decode()
    headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{ours.api}/2010-04-01/Accounts/{ours.account_sid}/Messages.json"
    return _taken(http.post(url, urlencode(form).encode(), headers))


def _taken(answer: http.Answer) -> str:
    said = _json(answer.text)
    if 200 <= answer.status < 300:
        if said.get("sid"):
            return _("%(status)s as %(sid)s") % {"status": said.get("status", "taken"), "sid": said["sid"]}
        if not answer.complete:
            raise TemporaryFailure(
                _("Twilio's answer broke off: %s") % answer.words, perhaps_sent=answer.status == 201
            )
        raise TemporaryFailure(_("This is no answer of Twilio's: %s") % answer.words)
    code = said.get("code")
    words = f"{answer.status} {code}: {said.get('message', '')}" if code else answer.words
    if answer.status == 400 and code in NUMBER_IS_NO_USE:
        raise PermanentFailure(words)
    everybody = answer.status in (401, 403, 429) or answer.status >= 500
    raise TemporaryFailure(words, retry_after=answer.retry_after, everybody=everybody)


def _json(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def callback_url(message_id: str) -> str:
    """Where Twilio tells what became of a message, or nothing when it could not reach us."""
    if not re.fullmatch(r"\d+\.\d+", message_id) or not _reachable(settings.BASE_URL):
        return ""
    return settings.BASE_URL + reverse("twilio-receipt", args=[message_id])


def receipt(url: str, form: Mapping[str, Sequence[str]], signature: str) -> Receipt | None:
    """What a receipt that came to `url` says, or None unless Twilio has signed it with our token.

    https://www.twilio.com/docs/usage/security: HMAC-SHA1 over the address and the sorted fields.
    """
    try:
        ours = Settings.read(settings.ALERT_SMS_URL)
    except ValueError:
        return None
    fields = "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    good = [hmac.compare_digest(_signed(ours, one + fields), signature.encode()) for one in _forms(url)]
    if not any(good):
        return None
    status, code = _first(form, "MessageStatus"), _first(form, "ErrorCode")
    words = " ".join(filter(None, [status, code, _first(form, "ErrorMessage")]))
    delivered = True if status in DELIVERED else False if status in NOT_DELIVERED else None
    return Receipt(delivered, code.isdecimal() and int(code) in NUMBER_IS_NO_USE, words)


def _first(form: Mapping[str, Sequence[str]], name: str) -> str:
    return form[name][0] if form.get(name) else ""


def _signed(ours: Settings, text: str) -> bytes:
    return base64.b64encode(hmac.digest(ours.auth_token.encode(), text.encode(), hashlib.sha1))


def _forms(url: str) -> tuple[str, str]:
    """The address with and without its port: Twilio signs either, by age of the account."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.netloc.partition(":")[0]
    return parts._replace(netloc=host).geturl(), parts._replace(netloc=f"{host}:{port}").geturl()


def _reachable(url: str) -> bool:
    """Whether an address can be one of the Internet: a name with a dot, or a public address."""
    host = urlsplit(url).hostname or ""
    try:
        return http.is_public(ipaddress.ip_address(host))
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal", ".test", ".invalid"))


def _is_here(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False
