"""A DNS server on loopback that answers what a test puts into it.

    with DnsServer() as dns:                       # settings.DNS_SERVERS = [dns.address]
        dns.add("example.org", "MX", "10 mx1.example.org.", "20 mx2.example.org.")
        dns.add("mx1.example.org", "A", "127.0.0.1")
        dns.add("example.org", "TXT", '"v=spf1 -all"')
        dns.fail("broken.example")                 # SERVFAIL
    dns.silence("slow.example")                # no answer at all
        dns.questions                              # what was asked: (name, type)

A name of which nothing is known does not exist (NXDOMAIN); one with other records has no answer.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from django.conf import settings
from django.test import override_settings

SOA = "ns.test. hostmaster.test. 1 60 60 60 60"


class DnsServer:
    """UDP, and TCP on the same port for what is too long for UDP. All methods may be called from any thread;
    names are compared without case.
    """

    def __init__(self, ttl: int = 60) -> None:
        self.ttl = ttl
        self.questions: list[tuple[str, str]] = []
        self.by_tcp: list[tuple[str, str]] = []
        self._records: dict[tuple[str, str], list[str]] = {}
        self._failing: set[str] = set()
        self._silent: set[str] = set()
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, socket = self.request
                if answer := server._answer(wire):
                    socket.sendto(_short(answer, wire), self.client_address)

        class TcpHandler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                length = int.from_bytes(self.rfile.read(2))
                if answer := server._answer(self.rfile.read(length), "tcp"):
                    self.wfile.write(len(answer).to_bytes(2) + answer)

        self._server, self._tcp = _pair(Handler, TcpHandler)
        self._threads = [
            threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True)
            for each in (self._server, self._tcp)
        ]

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def __enter__(self) -> DnsServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._server, self._tcp):
            each.shutdown()
            each.server_close()
        for thread in self._threads:
            thread.join(5)

    def add(self, name: str, kind: str, *values: str) -> None:
        """Records in the words of a zone file; they replace those of the same name and type."""
        self._records[self._key(name), kind] = list(values)

    def fail(self, name: str, failing: bool = True) -> None:
        """Answer SERVFAIL to everything about a name, or no longer."""
        (self._failing.add if failing else self._failing.discard)(self._key(name))

    def silence(self, name: str, silent: bool = True) -> None:
        """Do not answer anything about a name, or do again."""
        (self._silent.add if silent else self._silent.discard)(self._key(name))

    @staticmethod
    def _key(name: str) -> str:
        return name.rstrip(".").lower()

    def _answer(self, wire: bytes, by: str = "udp") -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = self._key(question.name.to_text()), dns.rdatatype.to_text(question.rdtype)
        (self.by_tcp if by == "tcp" else self.questions).append((name, kind))
        if name in self._silent:
            return b""
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA | dns.flags.RA
        if name in self._failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply.to_wire()
        values = self._records.get((name, kind)) or self._records.get((name, "CNAME"))
        if values:
            kind = kind if (name, kind) in self._records else "CNAME"
            reply.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *values))
            return reply.to_wire()
        if not any(known == name for known, _ in self._records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = dns.rrset.from_text(question.name, self.ttl, "IN", "SOA", SOA)
        reply.authority.append(soa)
        return reply.to_wire()


def _pair(
    udp: type[socketserver.BaseRequestHandler], tcp: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.ThreadingUDPServer, socketserver.ThreadingTCPServer]:
    """Servers on one port, whichever is free for both."""
    for _ in range(20):
        first = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp)
        try:
            return first, socketserver.ThreadingTCPServer(first.server_address[:2], tcp)
        except OSError:
            first.server_close()
    raise RuntimeError("no port is free for UDP and TCP")


def _short(answer: bytes, query: bytes) -> bytes:
    """The answer as it fits into UDP: without its records, marked as cut off, when it is too long."""
    asked = dns.message.from_wire(query)
    if len(answer) <= max(512, asked.payload):
        return answer
    cut = dns.message.make_response(asked)
    cut.flags |= dns.flags.TC
    return cut.to_wire()


@contextmanager
def dns_server(ttl: int = 60) -> Iterator[DnsServer]:
    """A DNS server that the product asks while the block lasts."""
    assert isinstance(settings.DNS_SERVERS, list)
    with DnsServer(ttl) as server, override_settings(DNS_SERVERS=[server.address]):
        yield server
