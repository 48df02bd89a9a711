"""Who may send mail to other organisations, and by which route: asked of the database, kept for seconds."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.utils import timezone

from accounts.models import MailDomain
from delivery.gateway.addresses import Mailbox, domain_key
from delivery.gateway.batches import Batcher
from delivery.gateway.directory import Destination
from delivery.gateway.refusal import Refusal
from delivery.models import DeliverySettings, NextHop, Route, SubmissionUser
from delivery.services.hops import next_hops

log = logging.getLogger(__name__)

SECONDS = 5.0
MOST_KEPT = 20_000

_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
NO_WAY_OUT = "550 5.7.1 Your account has no outbound route for mail to other organisations"
NOT_YOURS = "553 5.7.1 The sender's address is not of your account's domains"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Login:
    """A submission user. `password` is as Django's hashers keep it."""

    account_id: int
    username: str
    password: str


# What is asked: a word that says what, and its arguments.
_NETWORKS = ("networks",)
Question = tuple[Any, ...]


class Outbound:
    """Answers from memory while they are fresh, otherwise from the database."""

    def __init__(self) -> None:
        self._kept: dict[Question, tuple[float, Any]] = {}
        self._questions: Batcher[Question, Any] = Batcher("gateway-outbound", _look_up)

    async def close(self) -> None:
        await self._questions.close()

    def forget(self) -> None:
        """Ask the database again, whatever was kept."""
        self._kept.clear()

    async def accounts_of(self, address: str) -> frozenset[int]:
        """The accounts in whose outbound networks the client stands. Database errors pass through."""
        networks: tuple[tuple[int, Network], ...] = await self._ask(_NETWORKS)
        if not networks or not address:
            return frozenset()
        client = ipaddress.ip_address(address)
        return frozenset(account for account, network in networks if client in network)

    async def account_at(self, address: str, sender: str, sender_domain: str) -> int | None:
        """The account whose mail may leave from there: by its sender, or, for <>, the only one."""
        accounts = await self.accounts_of(address)
        if not accounts:
            return None
        if not sender:
            return next(iter(accounts)) if len(accounts) == 1 else None
        owner = await self.owner_of(sender_domain)
        return owner if owner in accounts else None

    async def owner_of(self, domain: str) -> int | None:
        """The account whose domain it is (A-labels, lower case), if any. Database errors pass through."""
        return cast("int | None", await self._ask(("owner", domain))) if domain else None

    async def login(self, username: str) -> Login | None:
        """The submission user, if there is one who is enabled. Database errors pass through."""
        return cast("Login | None", await self._ask(("login", username.strip().lower())))

    async def find(self, account_id: int, domain: str) -> Destination:
        """Where the account's mail for another organisation's domain goes. Raises Refusal."""
        destination: Destination | None = await self._ask(("hop", account_id, domain))
        if destination is None:
            raise Refusal(NO_WAY_OUT)
        return destination

    async def _ask(self, question: Question) -> Any:
        kept = self._kept.get(question)
        if kept and kept[0] > time.monotonic():
            return kept[1]
        answer = await self._questions.submit(question)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[question] = (time.monotonic() + SECONDS, answer)
        return answer


def outbound_domain(recipient: Mailbox) -> str:
    """The domain that next hops are kept by. Raises Refusal for what no mail server can be found for."""
    domain = domain_key(recipient.domain)
    if not _DOMAIN.fullmatch(domain):
        raise Refusal("550 5.1.2 Mail to this domain cannot be sent")
    return domain


def _look_up(questions: Sequence[Question]) -> list[Any]:
    """One query for each kind of question, however many wait."""
    asked = set(questions)
    owners = _owners({question[1] for question in asked if question[0] == "owner"})
    logins = _logins({question[1] for question in asked if question[0] == "login"})
    hops = _hops({question[1:] for question in asked if question[0] == "hop"})
    networks = _networks() if _NETWORKS in asked else ()
    kinds: dict[str, Any] = {"owner": owners, "login": logins}
    return [
        networks
        if question == _NETWORKS
        else hops.get(question[1:])
        if question[0] == "hop"
        else kinds[question[0]].get(question[1])
        for question in questions
    ]


def _networks() -> tuple[tuple[int, Network], ...]:
    rows = DeliverySettings.objects.exclude(outbound_networks=[]).values_list(
        "account_id", "outbound_networks"
    )
    found: list[tuple[int, Network]] = []
    for account, listed in rows:
        try:
            found += [(account, ipaddress.ip_network(text, strict=False)) for text in listed]
        except (TypeError, ValueError):  # forms refuse these
            log.error("the outbound networks of account %d are not valid", account)
    return tuple(found)


def _owners(domains: set[str]) -> dict[str, int]:
    if not domains:
        return {}
    return dict(MailDomain.objects.filter(name__in=domains).values_list("name", "account_id"))


def _logins(usernames: set[str]) -> dict[str, Login]:
    if not usernames:
        return {}
    rows = SubmissionUser.objects.filter(username__in=usernames, enabled=True)
    return {row.username: Login(row.account_id, row.username, row.password) for row in rows}


def _hops(places: set[tuple[Any, ...]]) -> dict[tuple[Any, ...], Destination]:
    """By account and domain: the next hop of the account's outbound route; of several the oldest."""
    if not places:
        return {}
    routes: dict[int, int] = {}
    accounts = {account for account, _domain in places}
    found = Route.objects.filter(account_id__in=accounts, kind=Route.Kind.OUTBOUND).order_by("pk")
    for pk, account in found.values_list("pk", "account_id"):
        routes.setdefault(account, pk)
    wanted = {(routes[account], domain): account for account, domain in places if account in routes}
    hops = next_hops(wanted.keys(), timezone.now()) if wanted else {}
    sizes = dict(NextHop.objects.filter(pk__in=hops.values()).values_list("pk", "offered_size"))
    return {
        (account, domain): Destination(
            account, hops[route, domain], sizes.get(hops[route, domain]) or 0, True, domain, outbound=True
        )
        for (route, domain), account in wanted.items()
    }
