"""Everybody of an account as rows of a CSV file that the import reads as no change."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.models import Person

BATCH = 2000


def export_rows(account_id: int) -> Iterator[tuple[str, ...]]:
    """By name; a query or two for each batch, so that memory does not grow with the account."""
    people = Person.objects.filter(account=account_id).order_by("name", "pk").prefetch_related("groups")
    for person in people.iterator(chunk_size=BATCH):
        groups = "; ".join(sorted(group.name for group in person.groups.all()))
        yield (person.address, person.name, person.alternate_address, person.phone, groups)
