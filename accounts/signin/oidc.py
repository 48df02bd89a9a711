"""Sign-in by an OpenID Connect provider: authorisation code flow (OpenID Connect Core 1.0), PKCE (RFC 7636).

The ID token comes from the provider itself over TLS, so that its signature need not be checked (3.1.3.7).
Users are matched by the e-mail address that the provider verified; none is made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings
from django.utils.crypto import constant_time_compare

SECONDS = 10.0
BYTES = 1_000_000
CLOCK_SECONDS = 120  # that the provider's clock may be apart from ours


class Failed(Exception):  # noqa: N818  (an answer to the user)
    """The provider did not say who it is; the message says why, for the log, and holds no secret."""


@dataclass(frozen=True)
class Journey:
    """What must come back unchanged from the provider. Kept in the session meanwhile."""

    state: str
    nonce: str
    verifier: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The code and the client's secret go where the provider's configuration says, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def enabled() -> bool:
    """Whether a provider is set."""
    return bool(settings.OIDC_ISSUER)


def set_out(back: str) -> tuple[Journey, str]:
    """A new journey, and the provider's address where it begins. `back` is where it ends. Raises Failed."""
    journey = Journey(*(secrets.token_urlsafe(32) for _ in range(3)))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(journey.verifier.encode()).digest())
    query = {
        "response_type": "code",
        "client_id": settings.OIDC_CLIENT_ID,
        "redirect_uri": back,
        "scope": "openid email",
        "state": journey.state,
        "nonce": journey.nonce,
        "code_challenge": challenge.decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    address = _configuration()["authorization_endpoint"]
    return journey, f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def arrive(journey: Journey, state: str, code: str, back: str, now: float) -> str:
    """The address, verified by the provider, of whoever comes back. `now` is Unix time. Raises Failed."""
    if not code or not constant_time_compare(state, journey.state):
        raise Failed("it came back without a code, or from another browser")
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": back,
        "code_verifier": journey.verifier,
    }
    # RFC 6749, 2.3.1: both are form-encoded before they are put together.
    pair = f"{quote(settings.OIDC_CLIENT_ID, '')}:{quote(settings.OIDC_CLIENT_SECRET, '')}"
    answer = _fetch(
        _configuration()["token_endpoint"],
        data=urlencode(form).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
    )
    return address_in(_claims(str(answer.get("id_token"))), journey.nonce, now)


def address_in(claims: dict[str, Any], nonce: str, now: float) -> str:
    """The verified address in the claims of an ID token (Core, 3.1.3.7). Raises Failed."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    us, expires, address = settings.OIDC_CLIENT_ID, claims.get("exp"), claims.get("email")
    if claims.get("iss") != settings.OIDC_ISSUER:
        raise Failed("the token is of another issuer")
    if us not in audiences or claims.get("azp", us) != us:
        raise Failed("the token is for another client")
    if not isinstance(expires, int | float) or expires + CLOCK_SECONDS < now:
        raise Failed("the token has expired")
    if not constant_time_compare(str(claims.get("nonce")), nonce):
        raise Failed("the token is of another sign-in")
    if not isinstance(address, str) or "@" not in address or claims.get("email_verified") is not True:
        raise Failed("the provider verified no e-mail address")
    return address


def _configuration() -> dict[str, str]:
    """Where the provider's endpoints are (OpenID Connect Discovery 1.0)."""
    issuer = settings.OIDC_ISSUER
    found = _fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise Failed(f"the provider calls itself {found.get('issuer')!r}, not as OIDC_ISSUER has it")
    for name in ("authorization_endpoint", "token_endpoint"):
        if urlsplit(str(found.get(name))).scheme not in {"https", urlsplit(issuer).scheme}:
            raise Failed(f"the provider has no usable {name}")
    return found


def _fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, data, {"Accept": "application/json", **(headers or {})})  # noqa: S310
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS) as response:
            found = json.loads(response.read(BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        raise Failed(f"the provider answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise Failed(f"the provider did not answer ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise Failed("the provider answered something else")
    return found


def _claims(token: str) -> dict[str, Any]:
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error):
        raise Failed("the token cannot be read") from None
    if not isinstance(claims, dict):
        raise Failed("the token cannot be read")
    return claims
