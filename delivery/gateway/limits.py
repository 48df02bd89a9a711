"""What one client, and all together, may use. Over a limit the answer is 4xx, and mail comes again."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """docs/gateway.md says what each is for."""

    size: int  # bytes of a message
    memory: int  # bytes of all messages that are being received or committed
    recipients: int  # per message
    connections: int
    connections_per_address: int
    commands: int  # between two accepted messages of a session
    errors: int  # refused commands between two accepted messages of a session
    idle: float  # seconds
    line: int = 2048  # bytes of a command
    handshake: float = 60.0  # seconds for TLS

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            size=settings.SIZE_LIMIT,
            memory=settings.GATEWAY_MEMORY,
            recipients=max(100, settings.GATEWAY_RECIPIENTS),  # RFC 5321 4.5.3.1.8
            connections=settings.GATEWAY_CONNECTIONS,
            connections_per_address=settings.GATEWAY_CONNECTIONS_PER_ADDRESS,
            commands=settings.GATEWAY_COMMANDS,
            errors=settings.GATEWAY_ERRORS,
            idle=settings.GATEWAY_IDLE_SECONDS,
        )


class Budget:
    """Bytes that may be held at once."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.used = 0

    def take(self, amount: int) -> bool:
        """Reserve `amount` bytes; False when they are not to be had. A lone message is always taken."""
        if self.used and self.used + amount > self._total:
            return False
        self.used += amount
        return True

    def give_back(self, amount: int) -> None:
        self.used -= amount


class Connections:
    """Counts connections, in all and by client: an IPv4 address or an IPv6 /64."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_client: Counter[str] = Counter()
        self.total = 0

    def enter(self, address: str) -> str | None:
        """Count a connection. Over a limit: the reply to close it with, and it is not counted."""
        client = client_network(address)
        if self.total >= self._limits.connections:
            return "421 4.7.0 Too many connections, try again later"
        if self._by_client[client] >= self._limits.connections_per_address:
            return "421 4.7.0 Too many connections from your address, try again later"
        self.total += 1
        self._by_client[client] += 1
        return None

    def leave(self, address: str) -> None:
        client = client_network(address)
        self.total -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]


def client_network(address: str) -> str:
    """What counts as one client: an IPv4 address or an IPv6 /64."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))
