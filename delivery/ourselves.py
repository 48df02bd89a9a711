"""Whether a host is this gateway: mail sent there would go round for ever."""

from __future__ import annotations

import ipaddress
import socket

from django.conf import settings

from delivery.dns import FAILURES, resolver

SMTP = 25
LOOK_UP_SECONDS = 3.0


def is_our_name(name: str) -> bool:
    """Whether a host name, or a server's greeting, is the gateway's own."""
    return bool(name) and name.strip().lower().rstrip(".") == settings.GATEWAY_NAME.lower()


def is_our_address(address: str, port: int) -> bool:
    """Whether the gateway of this machine listens there."""
    if port != settings.SMTP_PORT:
        return False
    bound, asked = ipaddress.ip_address(settings.BIND_ADDRESS), ipaddress.ip_address(address)
    if bound.is_unspecified:
        return asked.is_unspecified or _is_local(address)
    return asked == bound or asked.is_unspecified or (asked.is_loopback and bound.is_loopback)


def is_loopback(hostname: str) -> bool:
    """Whether the host is this machine by its very words."""
    try:
        return ipaddress.ip_address(hostname.strip().strip("[]")).is_loopback
    except ValueError:
        return hostname.strip().lower().rstrip(".") == "localhost"


def _is_local(address: str) -> bool:
    """Whether the address is one of this machine's: only to those a socket can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def leads_here(hostname: str, port: int) -> bool:
    """Whether mail for the host would come back to the gateway. A name that cannot be found does not."""
    hostname = hostname.strip().lower().strip("[]").rstrip(".")
    if is_our_name(hostname) and port in (SMTP, settings.MX_PORT, settings.SMTP_PORT):
        return True
    found = _addresses(hostname)
    if any(is_our_address(address, port) for address in found):
        return True
    # Behind a NAT, or another host of several: where the world finds the gateway, on the world's port.
    return port == SMTP and bool(found & _addresses(settings.GATEWAY_NAME))


def _addresses(hostname: str) -> set[str]:
    """The addresses of a host, from DNS and the hosts file. Loopback ones say nothing of another host."""
    try:
        return {str(ipaddress.ip_address(hostname))}
    except ValueError:
        return _asked(hostname) | _looked_up(hostname)


def _asked(hostname: str) -> set[str]:
    found: set[str] = set()
    for kind in ("A", "AAAA"):
        try:
            answer = resolver().resolve(hostname, kind, search=False, lifetime=LOOK_UP_SECONDS)
        except FAILURES:
            continue
        found |= {str(record.address) for record in answer}
    return found


def _looked_up(hostname: str) -> set[str]:
    try:
        return {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(hostname, None)}
    except (OSError, UnicodeError):
        return set()
