"""Which courier sends what: claims in batches, given back when the courier stops, dies or vanishes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, zip_longest

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from delivery import rules
from delivery.models import Message, MessageContent, NextHop, Pause, Recipient, Route, RouteHost
from delivery.rules.bounces import wants
from delivery.services.hops import Memory, hop_of, limits_of, locked

LEASE = timedelta(minutes=5)  # a claim not renewed for so long is anybody's
RENEW_SECONDS = 60.0  # what a courier does not renew for so long it does not know of
CONTENT_WITH_CLAIM = 256 * 1024  # bytes; larger contents are read when their turn comes
CONTENT_PER_CLAIM = 8 * 1024 * 1024


@dataclass(frozen=True)
class Host:
    """One host of a route, as the courier needs it."""

    hostname: str
    port: int
    tls: str
    username: str = ""
    sealed_password: str = field(default="", repr=False)
    xclient: bool = False  # it is told of the real client, where it offers that
    address: str = ""  # of a host found by MX; others are looked up by the system

    def __str__(self) -> str:
        found = f"[{self.address}]" if self.address else ""
        return f"{self.hostname}{found}:{self.port}"


@dataclass(frozen=True)
class Flow:
    """A next hop over which something could be sent now."""

    hop_id: int
    hop: rules.Hop
    limits: rules.Limits
    hosts: tuple[Host, ...]
    route_id: int = 0
    per_minute: int | None = None
    mx_domain: str = ""  # without hosts of its own: whose MX records say where to


@dataclass(frozen=True)
class Addressee:
    """A claimed recipient."""

    pk: int
    address: str
    notify: str
    orcpt: str


@dataclass(frozen=True)
class Client:
    """Who brought a message."""

    address: str
    helo: str


@dataclass(frozen=True)
class Envelope:
    """A claimed message for one next hop, with all its recipients there that are due."""

    hop_id: int
    message_id: int
    sender: str
    size: int
    smtputf8: bool
    body_8bit: bool
    ret: str
    envid: str
    content: bytes | None
    recipients: tuple[Addressee, ...]
    client: Client | None = None

    @property
    def recipient_ids(self) -> tuple[int, ...]:
        return tuple(recipient.pk for recipient in self.recipients)

    @property
    def notify_success(self) -> tuple[int, ...]:
        """Recipients of whose delivery the sender wants to be told (RFC 3461); never the null sender."""
        if not self.sender:
            return ()
        return tuple(one.pk for one in self.recipients if wants(one.notify, "SUCCESS"))


def _paused() -> Q:
    """Next hops of inbound routes of accounts whose deliveries are paused."""
    pauses = Pause.objects.filter(account=OuterRef("route__account"), ended_at=None)
    return Q(Exists(pauses), route__kind=Route.Kind.INBOUND)


def flowing(now: datetime, memory: Memory) -> list[Flow]:
    """Next hops that are neither paused nor told to wait and have something due.

    One index probe a next hop, however long the queue is.
    """
    due = Recipient.objects.filter(
        next_hop=OuterRef("pk"), state=Recipient.State.QUEUED, next_attempt_at__lte=now
    )
    rows = (
        NextHop.objects.filter(Q(not_before=None) | Q(not_before__lte=now))
        .exclude(_paused())
        .filter(Exists(due))
        .select_related("route")
        .prefetch_related("route__hosts")
        .order_by("pk")
    )
    return [_flow(row, memory) for row in rows]


def _flow(row: NextHop, memory: Memory) -> Flow:
    hosts = _hosts(row.route)
    return Flow(
        hop_id=row.pk,
        hop=hop_of(row, memory),
        limits=limits_of(row.route),
        hosts=hosts,
        route_id=row.route_id,
        per_minute=row.route.max_per_minute,
        mx_domain="" if hosts else row.domain,
    )


def paused_hops() -> set[int]:
    """Next hops from which nothing may be taken now."""
    if not Pause.objects.filter(ended_at=None).exists():
        return set()
    return set(NextHop.objects.filter(_paused()).values_list("pk", flat=True))


def _hosts(route: Route) -> tuple[Host, ...]:
    return tuple(host_of(host, xclient=route.xclient) for host in route.hosts.all())


def host_of(row: RouteHost, *, xclient: bool = False) -> Host:
    """A host of a route as the courier, and whoever tests the route, connects to it.

    XCLIENT would end a sign-in, so that a host with a user name gets none.
    """
    named = xclient and not row.username
    return Host(row.hostname, row.port, row.tls, row.username, row.sealed_password, xclient=named)


def claim(
    hop_id: int, courier: str, wanted: int, now: datetime, avoid: Collection[int] = ()
) -> list[Envelope]:
    """Take up to `wanted` due messages of a next hop for this courier, oldest first.

    While the hop is down it is one message, and none while another is under way anywhere. `avoid` are
    messages at which the host failed just now: others go first, so that one message cannot hold up all.
    """
    with transaction.atomic():
        row = NextHop.objects.select_related("route").exclude(_paused()).filter(pk=hop_id).first()
        if row is None:
            return []
        if row.state == NextHop.State.DOWN:
            (row,) = locked([hop_id])
            if (row.not_before and row.not_before > now) or _under_way(hop_id):
                return []
            wanted = 1
        recipients = _take(_candidates(row, wanted, now, avoid), hop_id, courier, now)
        return _envelopes(hop_id, recipients)


def _under_way(hop_id: int) -> bool:
    return Recipient.objects.filter(next_hop_id=hop_id, state=Recipient.State.SENDING).exists()


def _candidates(row: NextHop, wanted: int, now: datetime, avoid: Collection[int]) -> list[int]:
    """Message ids, in the order in which they go."""
    due = Recipient.objects.due(row.pk, now)
    others = due.exclude(message_id__in=avoid) if avoid else due
    if row.state == NextHop.State.RECOVERING and row.backlog_before:
        backlog = _messages(others.filter(accepted_at__lt=row.backlog_before), wanted)
        # What came later is due later, too: the second condition lets the index start there.
        new = _messages(
            others.filter(accepted_at__gte=row.backlog_before, next_attempt_at__gte=row.backlog_before),
            wanted,
        )
        alternating = chain.from_iterable(zip_longest(backlog, new))
        found = [message_id for message_id in alternating if message_id is not None]
    else:
        found = _messages(others, wanted)
    found = list(dict.fromkeys(found))[:wanted]
    return found or (_messages(due, 1) if avoid else [])


def _messages(due: QuerySet[Recipient], wanted: int) -> list[int]:
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, no_key=True)
    return list(due.values_list("message_id", flat=True)[:wanted])


_Claimed = tuple[int, int, str, str, str]  # pk, message, address, notify, orcpt


def _take(message_ids: Sequence[int], hop_id: int, courier: str, now: datetime) -> list[_Claimed]:
    """Claim all due recipients of these messages for the hop; those that somebody else got are left out."""
    if not message_ids:
        return []
    # The sum keeps SQLite from walking through all that is due to find these few: their messages lead there.
    due = Recipient.objects.alias(hop=F("next_hop_id") + 0).filter(
        hop=hop_id, state=Recipient.State.QUEUED, next_attempt_at__lte=now, message_id__in=message_ids
    )
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, no_key=True)
    order = {message_id: place for place, message_id in enumerate(message_ids)}
    rows: list[_Claimed] = list(due.values_list("pk", "message_id", "address", "notify", "orcpt"))
    found = sorted(rows, key=lambda row: (order[row[1]], row[0]))
    # The rows are locked (or the whole database is): what was read is what is claimed.
    Recipient.objects.filter(pk__in=[row[0] for row in found]).update(
        state=Recipient.State.SENDING, claimed_by=courier, claimed_at=now
    )
    return found


def _envelopes(hop_id: int, recipients: Sequence[_Claimed]) -> list[Envelope]:
    by_message: dict[int, list[Addressee]] = {}
    for pk, message_id, address, notify, orcpt in recipients:
        by_message.setdefault(message_id, []).append(Addressee(pk, address, notify, orcpt))
    fields = ("sender", "size", "smtputf8", "body_8bit", "ret", "envid")
    rows = Message.objects.filter(pk__in=by_message).values_list("pk", "client_address", "helo", *fields)
    messages = {}
    clients = {}
    for pk, address, helo, *values in rows:
        messages[pk] = dict(zip(fields, values, strict=True))
        clients[pk] = Client(address, helo)
    contents = _contents([(message_id, messages[message_id]["size"]) for message_id in by_message])
    return [
        Envelope(
            hop_id=hop_id,
            message_id=message_id,
            content=contents.get(message_id),
            recipients=tuple(addressees),
            client=clients[message_id],
            **messages[message_id],
        )
        for message_id, addressees in by_message.items()
    ]


def _contents(messages: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    """Of messages, by id and size, as many as may come with a claim."""
    small, total = [], 0
    for message_id, size in messages:
        total += size
        if size <= CONTENT_WITH_CLAIM and total <= CONTENT_PER_CLAIM:
            small.append(message_id)
    return _read_contents(small)


def content_of(message_id: int) -> bytes:
    """The stored bytes of a message. MessageContent.DoesNotExist when they are gone."""
    try:
        return _read_contents([message_id])[message_id]
    except KeyError:
        raise MessageContent.DoesNotExist(f"The content of message {message_id} is gone.") from None


def _read_contents(message_ids: Sequence[int]) -> dict[int, bytes]:
    if connection.vendor != "postgresql":
        rows = MessageContent.objects.filter(pk__in=message_ids).values_list("pk", "data")
        return {pk: bytes(data) for pk, data in rows}
    # As text the bytes would come in hexadecimal, and be in memory three times instead of once.
    from psycopg import Cursor

    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(
            "SELECT message_id, data FROM delivery_messagecontent WHERE message_id = ANY(%s)",
            [list(message_ids)],
            binary=True,
        )
        return dict(cursor.fetchall())


FREE = {"state": Recipient.State.QUEUED, "claimed_by": "", "claimed_at": None}


def release(recipient_ids: Iterable[int], courier: str) -> int:
    """Give claims back as if they had never been taken."""
    mine = Recipient.objects.filter(
        pk__in=list(recipient_ids), state=Recipient.State.SENDING, claimed_by=courier
    )
    return mine.update(**FREE)


def release_all(courier: str) -> int:
    """Free what a killed predecessor of this name held; call it before the first claim."""
    return Recipient.objects.filter(state=Recipient.State.SENDING, claimed_by=courier).update(**FREE)


def renew(recipient_ids: Collection[int], courier: str, now: datetime) -> int:
    """Say that these claims are alive, and free what this courier holds without knowing it.

    That is what it claimed when the database took the commit and could not say so any more. Returns how many.
    """
    mine = Recipient.objects.filter(state=Recipient.State.SENDING, claimed_by=courier)
    mine.filter(pk__in=list(recipient_ids)).update(claimed_at=now)
    return mine.filter(claimed_at__lt=now - timedelta(seconds=RENEW_SECONDS)).update(**FREE)


def free_abandoned(now: datetime) -> int:
    """Free all claims whose lease ran out, or was given by a clock that was ahead. Returns how many."""
    abandoned = Q(claimed_at=None) | Q(claimed_at__lt=now - LEASE) | Q(claimed_at__gt=now + LEASE)
    sending = Recipient.objects.filter(state=Recipient.State.SENDING)
    return sending.filter(abandoned, claimed_by__gt="").update(**FREE)
