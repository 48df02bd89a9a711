"""Naming the real client to a mail server that trusts us: Postfix's XCLIENT (its XCLIENT_README).

The mail server then judges the message as if the client had come to it itself. XCLIENT begins the session
anew, so EHLO follows, in the client's name. From then on the server asks whether *that client* may use
XCLIENT: a connection is of one client alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re

import dns.resolver
from aiosmtplib import SMTPException

from delivery.courier.mx import addresses_of
from delivery.courier.wire import Wire
from delivery.courier.words import reason
from delivery.dns import FAILURES, async_resolver
from delivery.services.claims import Client, Envelope

NAME_SECONDS = 2.0  # for finding the name of an address; without one the server is told so
_HELO = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_XTEXT = re.compile(rb"[^!-*,-<>-~]")
_ATTRIBUTES = ("ADDR", "NAME", "HELO", "PROTO")


class Refused(SMTPException):
    """The mail server does not want to be told. `code` is None where it did not answer."""

    def __init__(self, code: int | None, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def client_of(envelope: Envelope) -> Client | None:
    """Whom to name; None for what came from this machine: our own reports, for one."""
    if not envelope.client or ipaddress.ip_address(envelope.client.address).is_loopback:
        return None
    return envelope.client


async def introduce(wire: Wire, offered: frozenset[str], client: Client, seconds: float) -> str:
    """XCLIENT and EHLO for this client; the words of the server's EHLO. Raises Refused.

    `offered` are the attributes that the server takes, `seconds` is the patience for each answer.
    """
    values = {
        "ADDR": _address(client.address),
        "NAME": await name_of(client.address) if "NAME" in offered else "",
        "HELO": xtext(client.helo),
        "PROTO": "ESMTP",
    }
    words = [f"{name}={values[name]}" for name in _ATTRIBUTES if name in offered and values[name]]
    helo = client.helo if _HELO.fullmatch(client.helo) else f"[{_literal(client.address)}]"
    await _ask(wire, f"XCLIENT {' '.join(words)}", 220, seconds)
    return await _ask(wire, f"EHLO {helo}", 250, seconds)


async def _ask(wire: Wire, command: str, wanted: int, seconds: float) -> str:
    try:
        wire.write(command.encode("ascii") + b"\r\n")
        answer = await wire.read(seconds)
    except (SMTPException, OSError) as error:
        raise Refused(None, reason(error)) from error
    if answer.code != wanted:
        raise Refused(answer.code, answer.message)
    return answer.message


async def name_of(address: str) -> str:
    """The name of an address that leads back to it; `[UNAVAILABLE]`, or `[TEMPUNAVAIL]` if DNS is away."""
    try:
        async with asyncio.timeout(NAME_SECONDS):
            found = await async_resolver().resolve_address(address, search=False)
            for record in found:
                name = str(record.target).rstrip(".")
                if _HELO.fullmatch(name) and address in await addresses_of(name):
                    return name
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return "[UNAVAILABLE]"
    except (*FAILURES, TimeoutError):
        return "[TEMPUNAVAIL]"
    return "[UNAVAILABLE]"


def _address(address: str) -> str:
    return f"IPV6:{address}" if ":" in address else address


def _literal(address: str) -> str:
    return f"IPv6:{address}" if ":" in address else address


def xtext(text: str) -> str:
    """As the value of an attribute (RFC 3461 4)."""
    return _XTEXT.sub(lambda found: b"+%02X" % ord(found[0]), text.encode("utf-8", "replace")).decode()
