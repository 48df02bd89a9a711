"""Whom a notice is for, and how each of them is reached. Reads only; a constant number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, CharField, Count, Q, QuerySet, Value, When

from accounts.models import Group, Person
from notifications.bulk.models import Notice

# Where a person's address for each channel stands.
FIELDS = {"email": "alternate_address", "sms": "phone"}
REACHED = {channel: ~Q(**{name: ""}) for channel, name in FIELDS.items()}


def addressed(notice: Notice) -> QuerySet[Person]:
    """The people of a notice's account whom it is for, each once."""
    people = Person.objects.filter(account=notice.account_id)
    if notice.everybody:
        return people
    members = Group.people.through.objects.filter(group__notices=notice)
    return people.filter(pk__in=members.values("person_id"))


def with_way(people: QuerySet[Person], order: tuple[str, ...]) -> QuerySet[Any]:
    """Each person with `way`, the first channel of `order` that reaches them, or an empty one."""
    ways = [When(REACHED[channel], then=Value(channel)) for channel in order]
    return people.annotate(way=Case(*ways, default=Value(""), output_field=CharField()))


@dataclass(frozen=True)
class Reach:
    """How many people a notice would reach, by channel."""

    everybody: int
    by_channel: dict[str, int]

    @property
    def reachable(self) -> int:
        return sum(self.by_channel.values())

    @property
    def unreachable(self) -> int:
        return self.everybody - self.reachable


def reach(notice: Notice) -> Reach:
    """How many a notice would reach if it were started now."""
    counted = with_way(addressed(notice), notice.order).order_by().values_list("way").annotate(Count("pk"))
    numbers: dict[str, int] = dict(counted)
    by_channel = {channel: numbers.get(channel, 0) for channel in notice.order}
    return Reach(sum(numbers.values()), by_channel)


def unreachable(notice: Notice) -> QuerySet[Any]:
    """Those whom a notice would not reach, by name."""
    found = with_way(addressed(notice), notice.order).filter(way="")
    return found.order_by("name", "pk")
