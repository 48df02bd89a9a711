"""Questions that the pages of notices ask. Each takes a constant number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from accounts.models import Group, Person
from notifications.bulk import rules
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.bulk.people import REACHED, addressed, with_way

Copy = NoticeRecipient.State


@dataclass(frozen=True)
class Progress:
    """How far a notice is: its copies by state, how fast it goes, and for how long yet."""

    counts: dict[str, int]
    left: int
    per_second: float
    time_left: timedelta | None
    further: int = 0  # went on by another channel, because the first one failed

    @property
    def total(self) -> int:
        """All who can be reached."""
        return sum(number for state, number in self.counts.items() if state != Copy.UNREACHABLE)

    @property
    def sent(self) -> int:
        return self.counts.get(Copy.SENT, 0)


def progress_of(notice: Notice, now: datetime) -> Progress:
    """Its progress at `now`. While people are being listed, those not listed yet count as left."""
    copies = NoticeRecipient.objects.filter(notice=notice)
    went_on = Count("pk", filter=~Q(earlier=""))
    states = list(copies.order_by().values_list("state").annotate(all=Count("pk"), went_on=went_on))
    counts: dict[str, int] = {state: number for state, number, _further in states}
    left = counts.get(Copy.PENDING, 0) + counts.get(Copy.SENDING, 0)
    running = notice.state == Notice.State.RUNNING
    if running and not notice.listed:
        rest = with_way(addressed(notice).filter(pk__gt=notice.listed_upto), notice.order)
        unlisted = rest.exclude(way="").count()
        counts[Copy.PENDING] = counts.get(Copy.PENDING, 0) + unlisted
        left += unlisted
    per_second = 0.0
    if running and notice.started_at:
        finished = copies.filter(ended_at__gt=now - rules.RATE_OVER).exclude(state=Copy.UNREACHABLE).count()
        per_second = rules.rate(finished, now - notice.started_at)
    further = sum(number for _state, _all, number in states)
    return Progress(counts, left, per_second, rules.time_left(left, per_second), further)


@dataclass(frozen=True)
class Reachability:
    """How many people of an account are reached how."""

    everybody: int
    email: int
    sms: int
    neither: int


def reachability(account_id: int) -> Reachability:
    """Counted in one query."""
    email, sms = REACHED["email"], REACHED["sms"]
    counted = Person.objects.filter(account=account_id).aggregate(
        everybody=Count("pk"),
        email=Count("pk", filter=email),
        sms=Count("pk", filter=sms),
        neither=Count("pk", filter=~email & ~sms),
    )
    return Reachability(**counted)


REACHES = {"email": REACHED["email"], "sms": REACHED["sms"]}
REACHES["none"] = ~REACHES["email"] & ~REACHES["sms"]
_BY_EMAIL = REACHED["email"] & Q(alternate_verified_at__isnull=False)
_BY_SMS = REACHED["sms"] & Q(phone_verified_at__isnull=False)
REACHES["unverified"] = ~REACHES["none"] & ~(_BY_EMAIL | _BY_SMS)


def found_people(
    account_id: int, *, q: str = "", group: int | None = None, reach: str = ""
) -> QuerySet[Person]:
    """People of an account by name: those with `q` in name or address, of a group, reached in a way."""
    people = Person.objects.filter(account=account_id).order_by("name", "pk")
    if q:
        people = people.filter(
            Q(name__icontains=q) | Q(address__icontains=q) | Q(alternate_address__icontains=q)
        )
    if group:
        people = people.filter(groups=group)
    if reach in REACHES:
        people = people.filter(REACHES[reach])
    return people


def after_person(people: QuerySet[Person], place: Person) -> QuerySet[Person]:
    """The part of a list by name that follows `place`."""
    further = Q(name__gt=place.name) | Q(name=place.name, pk__gt=place.pk)
    return people.filter(further, name__gte=place.name)


def groups(account_id: int) -> list[tuple[Group, int]]:
    """The groups of an account by name, and how many people are in each."""
    found = Group.objects.filter(account=account_id).annotate(number=Count("people"))
    return [(group, group.number) for group in found.order_by("name", "pk")]
