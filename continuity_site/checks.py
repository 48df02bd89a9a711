"""System checks: a setting that cannot work stops the start, with its name and the fix.

What cannot even be read (a port that is no number) is refused earlier, by `continuity_site.environment`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from delivery.dns import server_of

# RFC 1123 labels; one dot at least, so that other mail servers take it in EHLO.
_HOST_NAME = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE)
REDIS_SCHEMES = ("redis", "rediss", "unix")
ALERT_EMAIL_SCHEMES = ("smtp", "smtps", "smtp+starttls")
SECRET_KEY_CHARACTERS = 32
PORTS = ("WEB_PORT", "SMTP_PORT", "SUBMISSION_PORT", "DEMO_SMTP_PORT")
OPTIONAL_PORTS = ("SUBMISSION_PORT",)  # 0 is "none"

# The least that each limit can be, and why.
SMALLEST = {
    "SIZE_LIMIT": (65536, "RFC 5321 asks for 64 KiB at least"),
    "GATEWAY_RECIPIENTS": (100, "RFC 5321 asks for 100 at least"),
    "GATEWAY_CONNECTIONS": (1, "no mail could come in"),
    "GATEWAY_CONNECTIONS_PER_ADDRESS": (1, "no mail could come in"),
    "GATEWAY_COMMANDS": (10, "no message could be handed over"),
    "GATEWAY_ERRORS": (1, "every connection would be closed"),
    "GATEWAY_IDLE_SECONDS": (1, "every connection would be closed"),
    "SIGN_IN_FAILURES": (1, "nobody could sign in"),
    "SIGN_IN_LOCK_MINUTES": (1, "guessing a password would cost nothing"),
}


def _error(number: int, text: str, hint: str) -> Error:
    return Error(text, hint=hint, id=f"continuity.E{number:03}")


@register("continuity")
def check_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Every setting of Continuity that can be judged without touching the network."""
    parts: Iterable[Iterator[CheckMessage]] = (
        _data_dir(),
        _ports(),
        _addresses(),
        _names(),
        _urls(),
        _tls(),
        _provider(),
        _secrets(),
        _dns(),
        _gateway(),
        _networks(),
    )
    return [message for part in parts for message in part]


def _data_dir() -> Iterator[CheckMessage]:
    path = settings.DATA_DIR
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        yield _error(
            1,
            f"DATA_DIR is {path}, where Continuity may not write.",
            "Make that directory writable for the user that runs Continuity, or set DATA_DIR to another one.",
        )


def _ports() -> Iterator[CheckMessage]:
    ports = {name: getattr(settings, name) for name in PORTS}
    ports = {name: port for name, port in ports.items() if port or name not in OPTIONAL_PORTS}
    for name, port in ports.items():
        if not 1 <= port <= 65535:
            yield _error(2, f"{name} is {port}, which is not a port.", f"Set {name} to 1 to 65535.")
        twin = next((other for other in ports if other != name and ports[other] == port), None)
        if twin and list(ports).index(name) < list(ports).index(twin):
            yield _error(3, f"{name} and {twin} are both {port}.", f"Give {name} and {twin} different ports.")


def _addresses() -> Iterator[CheckMessage]:
    try:
        loopback = ip_address(settings.BIND_ADDRESS).is_loopback
    except ValueError:
        yield _error(
            4,
            f"BIND_ADDRESS is “{settings.BIND_ADDRESS}”, which is not an IP address.",
            "Set BIND_ADDRESS to 127.0.0.1 for this machine only, or to 0.0.0.0 or :: for the network.",
        )
        return
    if settings.DEBUG and not loopback:
        yield _error(
            5,
            f"DEBUG is on and BIND_ADDRESS is {settings.BIND_ADDRESS}: error pages would tell too much.",
            "Set DEBUG=0, or BIND_ADDRESS=127.0.0.1.",
        )


def _names() -> Iterator[CheckMessage]:
    if not _HOST_NAME.fullmatch(settings.GATEWAY_NAME):
        yield _error(
            6,
            f"GATEWAY_NAME is “{settings.GATEWAY_NAME}”, which is not a full host name.",
            "Set GATEWAY_NAME to the name that the gateway's MX record points to, such as mx.example.com.",
        )


def _urls() -> Iterator[CheckMessage]:
    base = _split(settings.BASE_URL)
    if not base or base[0] not in ("http", "https") or not base[1] or base[2]:
        yield _error(
            7,
            f"BASE_URL is “{settings.BASE_URL}”, with which no link in an alert can begin.",
            "Set BASE_URL to how people reach the console, such as https://continuity.example.com.",
        )
    redis = _split(settings.REDIS_URL)
    if not redis or redis[0] not in REDIS_SCHEMES:
        yield _error(
            8,
            "REDIS_URL does not begin with redis://, rediss:// or unix://.",
            "Set REDIS_URL to such as redis://127.0.0.1:6379/0, or leave it empty for the embedded Redis.",
        )
    relay = _split(settings.ALERT_EMAIL_URL)
    if settings.ALERT_EMAIL_URL and (not relay or relay[0] not in ALERT_EMAIL_SCHEMES or not relay[1]):
        yield _error(
            9,
            "ALERT_EMAIL_URL is not the address of a mail relay.",
            "Set ALERT_EMAIL_URL to such as smtp+starttls://user:password@relay.example.net:587.",
        )

    heartbeat = _split(settings.HEARTBEAT_URL)
    if settings.HEARTBEAT_URL and (
        not heartbeat or heartbeat[0] not in ("http", "https") or not heartbeat[1]
    ):
        yield _error(
            20,
            "HEARTBEAT_URL is no http or https URL.",
            "Set HEARTBEAT_URL to such as https://heartbeat.example.net/ping/continuity, or leave it empty.",
        )


def _provider() -> Iterator[CheckMessage]:
    issuer = _split(settings.OIDC_ISSUER)
    if not settings.OIDC_ISSUER:
        return
    if not issuer or not issuer[1] or (issuer[0] != "https" and issuer[1] not in ("127.0.0.1", "::1")):
        yield _error(
            21,
            "OIDC_ISSUER is no https URL: who signs in could be changed on the way.",
            "Set OIDC_ISSUER to such as https://login.example.com/realms/staff, or leave it empty.",
        )
    if not settings.OIDC_CLIENT_ID or not settings.OIDC_CLIENT_SECRET:
        yield _error(
            22,
            "OIDC_ISSUER is set without OIDC_CLIENT_ID and OIDC_CLIENT_SECRET.",
            "Set both to what the provider gave you for Continuity, or leave OIDC_ISSUER empty.",
        )


def _tls() -> Iterator[CheckMessage]:
    for name in ("TLS_CERTIFICATE", "TLS_KEY"):
        path = getattr(settings, name, "")
        if path and not os.access(path, os.R_OK):
            yield _error(
                10,
                f"{name} is {path}, which Continuity cannot read.",
                f"Set {name} to a PEM file that its user may read, or leave it empty.",
            )
    if bool(getattr(settings, "TLS_CERTIFICATE", "")) != bool(getattr(settings, "TLS_KEY", "")):
        yield _error(
            11, "Only one of TLS_CERTIFICATE and TLS_KEY is set.", "Set both of them, or leave both empty."
        )


def _secrets() -> Iterator[CheckMessage]:
    if len(settings.SECRET_KEY) < SECRET_KEY_CHARACTERS:
        yield _error(
            12,
            f"SECRET_KEY is shorter than {SECRET_KEY_CHARACTERS} characters: links could be forged.",
            "Leave SECRET_KEY empty and Continuity makes one in DATA_DIR, or set a long random one.",
        )


def _dns() -> Iterator[CheckMessage]:
    for text in settings.DNS_SERVERS:
        try:
            address, port = server_of(text)
            ip_address(address)
            good = 1 <= port <= 65535
        except ValueError:
            good = False
        if not good:
            yield _error(
                13,
                f"DNS_SERVERS holds “{text}”, which is no address of a DNS server.",
                "Set DNS_SERVERS to such as 192.0.2.1 or 192.0.2.1:5353, or leave it empty for the system's.",
            )


def _gateway() -> Iterator[CheckMessage]:
    for name, (least, why) in SMALLEST.items():
        value = getattr(settings, name)
        if value < least:
            yield _error(14, f"{name} is {value}: {why}.", f"Set {name} to {least} or more.")
    if settings.GATEWAY_MEMORY < settings.SIZE_LIMIT:
        yield _error(
            15,
            f"GATEWAY_MEMORY is {settings.GATEWAY_MEMORY}, less than one message of SIZE_LIMIT may have.",
            f"Set GATEWAY_MEMORY to {settings.SIZE_LIMIT} or more, or SIZE_LIMIT to less.",
        )


def _networks() -> Iterator[CheckMessage]:
    for text in settings.TRUSTED_NETWORKS:
        try:
            ip_network(text, strict=False)
        except ValueError:
            yield _error(
                16,
                f"TRUSTED_NETWORKS holds “{text}”, which is no network.",
                "Set TRUSTED_NETWORKS to such as 10.0.0.0/8,192.0.2.7, or to nothing.",
            )


def _split(url: str) -> tuple[str, str, str] | None:
    """Scheme, host and path of a URL, or None if it has no valid form."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises ValueError when it is not a port)
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", parts.path
