"""A signed POST to an address of the contact's own: webhook://SECRET@host/path, which goes out as https.

The body is JSON: id, subject, text. `Continuity-Signature: t=<Unix time>,v1=<hex>` is the HMAC-SHA256 of
`<Unix time>.<body>` under the secret, so that a receiver can tell ours from forged and from replayed ones.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import time
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, http

SECRET_LENGTH = 16  # characters at least
# webhook+http is for this machine only, where no network can listen.
SCHEMES = {"webhook": "https", "webhook+http": "http"}


def send(message: Rendered) -> str:
    """POST one message. 2xx is success, 410 the end of the address; all else may pass."""
    try:
        url, secret = target(message.to)
    except ValueError as error:
        raise PermanentFailure(str(error)) from None
    said = {"id": message.message_id, "subject": message.subject, "text": message.text}
    body = json.dumps(said).encode()
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "Continuity-Signature": f"t={now},v1={signature(secret, now, body)}",
    }
    here_only = url.startswith("http:")
    answer = http.post(url, body, headers, _this_machine if here_only else _may_use)
    if 200 <= answer.status < 300:
        return answer.words
    if answer.status == 410:
        raise PermanentFailure(answer.words)
    raise TemporaryFailure(answer.words, retry_after=answer.retry_after)


def target(address: str) -> tuple[str, str]:
    """The URL and the secret of a webhook's address. Raises ValueError with words for the user."""
    form = _("A webhook's address is of the form webhook://SECRET@host/path.")
    try:
        parts = urlsplit(address)
        port_is_good = parts.port != 0
    except ValueError:
        raise ValueError(form) from None
    scheme = SCHEMES.get(parts.scheme)
    secret, _at, host = parts.netloc.rpartition("@")
    if scheme is None or not parts.hostname or parts.fragment or not port_is_good:
        raise ValueError(form)
    if len(secret) < SECRET_LENGTH:
        raise ValueError(_("A webhook's address needs a secret of at least %d characters.") % SECRET_LENGTH)
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        pass
    else:
        if not (_this_machine if scheme == "http" else _may_use)(literal):
            raise ValueError(_("This address leads into a network that WEBHOOK_NETWORKS does not allow."))
    return parts._replace(scheme=scheme, netloc=host).geturl(), secret


def signature(secret: str, at: int, body: bytes) -> str:
    """The signature of `body`, made at the Unix time `at`."""
    return hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()


def _may_use(address: http.Address) -> bool:
    allowed = (ipaddress.ip_network(network) for network in settings.WEBHOOK_NETWORKS)
    return http.is_public(address) or any(address in network for network in allowed)


def _this_machine(address: http.Address) -> bool:
    return address.is_loopback and _may_use(address)
