"""People of an account as an import meets them: some hundreds at a time, a constant number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import Group, Person
from accounts.people.models import PersonImport
from accounts.people.reading import Known, Line, changes

Through = Group.people.through


@dataclass(frozen=True)
class Change:
    """What a line does: kind is new, changed or unchanged; `words` as [field, before, after]."""

    kind: str
    words: list[list[str]]
    unverifies: bool = False


def known_people(account_id: int, addresses: Collection[str]) -> dict[str, Known]:
    """The people with these addresses, by address."""
    people = list(Person.objects.filter(account=account_id, address__in=addresses))
    names: defaultdict[int, list[str]] = defaultdict(list)
    members = Through.objects.filter(person__in=[person.pk for person in people])
    for person_id, name in members.order_by("group__name").values_list("person_id", "group__name"):
        names[person_id].append(name)
    return {person.address: _known(person, names[person.pk]) for person in people}


def _known(person: Person, groups: Sequence[str]) -> Known:
    checked = {
        field
        for field, at in (("alternate", person.alternate_verified_at), ("phone", person.phone_verified_at))
        if at
    }
    name, alternate, phone = person.name, person.alternate_address, person.phone
    return Known(name, alternate, phone, tuple(sorted(groups)), frozenset(checked))


def told_change(line: Line, known: Known | None) -> Change:
    """What importing a line would change."""
    if known is None:
        return Change("new", [["name", "", _name(line)]])
    found = changes(line, known)
    words = [[field, before[:120], after[:120]] for field, (before, after) in found.items()]
    return Change("changed" if found else "unchanged", words, bool(known.checked & found.keys()))


def _name(line: Line) -> str:
    return line.name or line.address.rpartition("@")[0][:120]


def new_groups(account_id: int, names: Collection[str]) -> list[str]:
    """Which of the names no group of the account has."""
    known = set(Group.objects.filter(account=account_id).values_list("name", flat=True))
    return sorted(set(names) - known)


def store(account_id: int, found: Sequence[Line]) -> tuple[int, int]:
    """Make these people as the lines say. Returns how many were added and how many changed."""
    addresses = [line.address for line in found]
    known = known_people(account_id, addresses)
    Person.objects.bulk_create(
        [
            Person(
                account_id=account_id,
                address=line.address,
                name=_name(line),
                alternate_address=line.alternate or "",
                phone=line.phone or "",
            )
            for line in found
            if line.address not in known
        ],
        ignore_conflicts=True,
    )
    people = {one.address: one for one in Person.objects.filter(account=account_id, address__in=addresses)}
    changed, regrouped = [], []
    number = 0
    for line in found:
        person = people.get(line.address)
        before = known.get(line.address)
        if person is None:
            continue
        if before is None:
            if line.groups:
                regrouped.append((person, line))
            continue
        fields = changes(line, before)
        number += bool(fields)
        if _take_over(person, line, fields):
            changed.append(person)
        if "groups" in fields:
            regrouped.append((person, line))
    Person.objects.bulk_update(
        changed, ["name", "alternate_address", "alternate_verified_at", "phone", "phone_verified_at"]
    )
    _regroup(account_id, regrouped)
    return len(people.keys() - known.keys()), number


def _take_over(person: Person, line: Line, fields: Collection[str]) -> bool:
    """Change the person's own fields; what was verified of another address or number is not of this one."""
    if "name" in fields:
        person.name = line.name or person.name
    if "alternate" in fields:
        person.alternate_address, person.alternate_verified_at = line.alternate or "", None
    if "phone" in fields:
        person.phone, person.phone_verified_at = line.phone or "", None
    return bool(set(fields) - {"groups"})


def _regroup(account_id: int, wanted: Sequence[tuple[Person, Line]]) -> None:
    names = {name for _person, line in wanted for name in line.groups or ()}
    Group.objects.bulk_create(
        [Group(account_id=account_id, name=name) for name in new_groups(account_id, names)],
        ignore_conflicts=True,
    )
    groups = dict(Group.objects.filter(account=account_id, name__in=names).values_list("name", "pk"))
    Through.objects.filter(person__in=[person.pk for person, _line in wanted]).delete()
    Through.objects.bulk_create(
        [
            Through(person_id=person.pk, group_id=groups[name])
            for person, line in wanted
            for name in line.groups or ()
        ],
        ignore_conflicts=True,
    )


def remove_others(row: PersonImport, listed: set[str], batch: int, lease: timedelta) -> None:
    """Remove the people of the account who are not `listed` and were there when the import was decided."""
    people = Person.objects.filter(account=row.account_id)
    gone = [pk for pk, address in people.values_list("pk", "address") if address not in listed]
    for start in range(0, len(gone), batch):
        with transaction.atomic():
            _all, by_model = people.filter(pk__in=gone[start : start + batch]).delete()
            PersonImport.objects.filter(pk=row.pk).update(
                removed=F("removed") + by_model.get("accounts.Person", 0), until=timezone.now() + lease
            )
