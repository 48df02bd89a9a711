"""Which recipients are ours and where their mail goes: asked of the database, kept for seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import Error as DatabaseError

from accounts.models import MailDomain, Person
from delivery.gateway.addresses import Mailbox, domain_key
from delivery.gateway.batches import Batcher
from delivery.gateway.refusal import Refusal
from delivery.models import KnownRecipient, NextHop, Route, SinkRoute
from delivery.services import ensure_next_hop, sinks

FOUND_SECONDS = 5.0
NOT_FOUND_SECONDS = 2.0
MOST_KEPT = 50_000

# RFC 5321 4.5.1 and RFC 2142: always accepted.
ALWAYS = frozenset({"postmaster", "abuse"})

RELAY = "550 5.7.1 Relaying refused: not a domain of this server"
UNKNOWN = "550 5.1.1 No such recipient"
NO_ROUTE = "451 4.3.5 No route to the mail server of this domain yet"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where mail for an address goes. `offered_size` in bytes; 0 is no limit known."""

    account_id: int
    next_hop_id: int
    offered_size: int
    smtputf8: bool
    domain: str
    outbound: bool = False
    sink_id: int = 0  # one of our own addresses: its mail is filed there


@dataclass(frozen=True, slots=True)
class _Domain:
    id: int
    name: str
    account_id: int
    policy: str
    destination: Destination | None


# What is asked for: local part and domain in comparing form. Both empty asks for the size to offer.
Question = tuple[str, str]
Answer = Destination | Refusal | int
_SIZE: Question = ("", "")


class Directory:
    """Answers from memory while they are fresh, otherwise by one round of queries for all who wait."""

    def __init__(self, size_limit: int) -> None:
        self._size_limit = size_limit
        self._kept: dict[Question, tuple[float, Answer]] = {}
        self._questions: Batcher[Question, Answer] = Batcher("gateway-lookup", self._look_up)

    async def close(self) -> None:
        await self._questions.close()

    def forget(self) -> None:
        """Ask the database again, whatever was kept."""
        self._kept.clear()

    async def find(self, mailbox: Mailbox) -> Destination:
        """Where mail for this recipient goes. Raises Refusal; database errors pass through."""
        if not mailbox.domain and mailbox.local_key != "postmaster":
            raise Refusal("553 5.1.3 The address has no domain")
        answer = await self._ask((mailbox.local_key, domain_key(mailbox.domain)))
        if isinstance(answer, Refusal):
            raise Refusal(answer.reply)
        assert isinstance(answer, Destination)
        return answer

    async def size_to_offer(self) -> int:
        """Bytes: our limit, or less when no route's server takes so much."""
        try:
            answer = await self._ask(_SIZE)
        except DatabaseError:  # the recipients will be told; no reason to refuse a greeting
            return self._size_limit
        assert isinstance(answer, int)
        return answer

    async def _ask(self, question: Question) -> Answer:
        now = time.monotonic()
        kept = self._kept.get(question)
        if kept and kept[0] > now:
            return kept[1]
        answer = await self._questions.submit(question)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        fresh = NOT_FOUND_SECONDS if isinstance(answer, Refusal) else FOUND_SECONDS
        self._kept[question] = (time.monotonic() + fresh, answer)
        return answer

    def _look_up(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        domains = _domains({question[1] for question in questions if question != _SIZE})
        known = _known(
            f"{form}@{domain}"
            for local, domain in questions
            if (found := domains.get(domain)) and found.policy == MailDomain.Policy.KNOWN
            for form in _forms(local)
        )
        own = _sinks(questions)
        return [
            self._offered() if question == _SIZE else own.get(question) or _answer(question, domains, known)
            for question in questions
        ]

    def _offered(self) -> int:
        offers = NextHop.objects.filter(route__kind=Route.Kind.INBOUND, domain="").values_list(
            "offered_size", flat=True
        )
        return min(
            self._size_limit, max((size or self._size_limit for size in offers), default=self._size_limit)
        )


def _forms(local: str) -> tuple[str, ...]:
    """A local part as it may be known: itself, then without its sub-address."""
    base = local.partition("+")[0]
    return (local, base) if base and base != local else (local,)


def _answer(
    question: Question, domains: dict[str, _Domain], known: set[tuple[str, str]]
) -> Destination | Refusal:
    local, name = question
    domain = domains.get(name)
    if domain is None:
        return Refusal(RELAY if name else NO_ROUTE)
    accepted = (
        domain.policy == MailDomain.Policy.ALL
        or local in ALWAYS
        or any((domain.name, f"{form}@{name}") in known for form in _forms(local))
    )
    if not accepted:
        return Refusal(UNKNOWN)
    return domain.destination or Refusal(NO_ROUTE)


def _sinks(questions: Sequence[Question]) -> dict[Question, Destination]:
    """Those that are addresses of the gateway itself."""
    wanted = [f"{local}@{domain}" for local, domain in questions if local.startswith(sinks.PREFIX)]
    if not wanted:
        return {}
    found = {}
    for sink in SinkRoute.objects.filter(address__in=wanted):
        local, _, domain = sink.address.rpartition("@")
        found[local, domain] = Destination(sink.account_id, 0, sinks.LARGEST, True, domain, sink_id=sink.pk)
    return found


def _domains(names: set[str]) -> dict[str, _Domain]:
    """The account domains among `names`. The empty name is the first account's first domain."""
    rows = list(MailDomain.objects.filter(name__in=names))
    first = MailDomain.objects.order_by("account_id", "pk").first() if "" in names else None
    destinations = _destinations({row.account_id for row in [*rows, *([first] if first else [])]})

    def domain(row: MailDomain) -> _Domain:
        to = destinations.get(row.account_id)
        here = (
            Destination(row.account_id, to.pk, to.offered_size or 0, to.offered_smtputf8, row.name)
            if to
            else None
        )
        return _Domain(row.pk, row.name, row.account_id, row.policy, here)

    found = {row.name: domain(row) for row in rows}
    if first:
        found[""] = domain(first)
    return found


def _destinations(account_ids: set[int]) -> dict[int, NextHop]:
    """The next hop of each account's inbound route; of several the oldest."""
    routes: dict[int, Route] = {}
    for route in Route.objects.filter(account_id__in=account_ids, kind=Route.Kind.INBOUND).order_by("pk"):
        routes.setdefault(route.account_id, route)
    hops = {
        hop.route_id: hop
        for hop in NextHop.objects.filter(route_id__in=[route.pk for route in routes.values()], domain="")
    }
    return {account_id: hops.get(route.pk) or ensure_next_hop(route) for account_id, route in routes.items()}


def _known(addresses: Iterable[str]) -> set[tuple[str, str]]:
    """Domain and address of those that belong to a person, or were imported or learned.

    A person counts in the domains of their own account only.
    """
    wanted = set(addresses)
    if not wanted:
        return set()
    listed = KnownRecipient.objects.filter(address__in=wanted).values_list("domain__name", "address")
    people = Person.objects.filter(address__in=wanted).values_list("account_id", "address")
    found = set(listed)
    accounts = dict(
        MailDomain.objects.filter(name__in={address.rpartition("@")[2] for address in wanted}).values_list(
            "name", "account_id"
        )
    )
    for account_id, address in people:
        name = address.rpartition("@")[2]
        if accounts.get(name) == account_id:
            found.add((name, address))
    return found
