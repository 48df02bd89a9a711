"""The only writer of imported people: read a file, show what it would change, and do that.

Both run in parts, a transaction each, as a job when the file is long. They may be killed at any line: reading
begins anew, importing goes on where it was. Memory is bounded by the longest file that is taken.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import django_rq
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.csv_files import Unreadable, decode
from accounts.models import Account, MailDomain, Person
from accounts.people.models import PersonImport, PersonImportPart
from accounts.people.reading import Line, Repeated, Wrong, lines, table
from accounts.people.storing import known_people, new_groups, remove_others, store, told_change
from accounts.services import Actor, Refused, decision

logger = logging.getLogger(__name__)

State = PersonImport.State
PREVIEW_KEPT = timedelta(hours=1)
LEASE = timedelta(minutes=2)  # without progress for so long, whoever works at it is gone
HISTORY = 20  # imports kept of each account
PART = 500  # lines in one transaction: others write between two
AT_ONCE = 64 * 1024  # bytes: a file no longer than this is read, and imported, while the user waits
SHOWN = 100  # lines in error, and changes, on the page
QUEUE = "bulk"


def upload(
    account: Account, actor: Actor, file_name: str, data: bytes, country: str, now: datetime
) -> PersonImport:
    """Take a file to be read. Changes nobody."""
    row = PersonImport.objects.create(
        account=account,
        made_at=now,
        made_by=actor.name,
        file_name=file_name,
        country=country,
        content=data,
        until=now + LEASE,
        facts={"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
    )
    _tidy_up(account, now)
    (_enqueue if len(data) > AT_ONCE else run)(row.pk)
    return row


def _tidy_up(account: Account, now: datetime) -> None:
    """Previews that nobody used, and old history."""
    imports = PersonImport.objects.filter(account=account)
    imports.filter(state__in=(State.PREVIEW, State.UNREADABLE), until__lt=now).delete()
    old = imports.filter(state=State.DONE).order_by("-pk").values_list("pk", flat=True)[HISTORY:]
    imports.filter(pk__in=list(old)).delete()


def confirm(
    row: PersonImport,
    actor: Actor,
    *,
    remove_missing: bool,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """Decide to import all good lines of a preview. Raises Refused, AlreadyDone."""
    with decision(row.account_id, actor, request_key=request_key, now=now) as decided:
        mine = PersonImport.objects.filter(pk=row.pk, state=State.PREVIEW, until__gte=decided.now)
        if not mine.update(state=State.RUNNING, remove_missing=remove_missing, until=decided.now + LEASE):
            raise Refused(_("This preview was used already, or is too old. Upload the file again."))
        if remove_missing and (row.facts["errors"] or not row.total):
            raise Refused(
                _("People are removed only by a file without errors: somebody may be on a line in error.")
            )
        decided.record(
            "people.imported",
            after=row.file_name,
            import_id=row.pk,
            sha256=row.facts["sha256"],
            people=row.total,
            expected={name: row.facts[name] for name in ("new", "changed", "unchanged", "errors", "missing")},
            remove_missing=remove_missing,
        )
        long = row.facts["bytes"] > AT_ONCE or (remove_missing and row.facts["missing"] > PART)
        transaction.on_commit(partial(_enqueue if long else run, row.pk))


def discard(row: PersonImport) -> None:
    """Forget a preview that nobody wants. What is being imported stays."""
    PersonImport.objects.filter(pk=row.pk).exclude(state__in=(State.RUNNING, State.DONE)).delete()


def carry_on(row: PersonImport, now: datetime) -> None:
    """Have what was cut off carried on. Raises Refused when it is not."""
    if not _taken_up(row.pk, now):
        raise Refused(_("This import is running, or has ended."))
    _enqueue(row.pk)


def sweep(now: datetime) -> None:
    """Have carried on what a worker left that died, or that Redis forgot."""
    left = PersonImport.objects.filter(state__in=(State.READING, State.RUNNING), until__lt=now)
    for pk in list(left.values_list("pk", flat=True)[:10]):
        if _taken_up(pk, now):
            _enqueue(pk)


def _taken_up(import_id: int, now: datetime) -> bool:
    left = PersonImport.objects.filter(pk=import_id, state__in=(State.READING, State.RUNNING), until__lt=now)
    return left.update(until=now + LEASE) == 1


def _enqueue(import_id: int) -> None:
    try:
        django_rq.get_queue(QUEUE).enqueue("accounts.jobs.import_people", import_id, result_ttl=0)
    except RedisError as error:  # it shows as interrupted, and is swept up
        logger.warning("import %s of people has no worker: %s", import_id, type(error).__name__)


def run(import_id: int) -> None:
    """Read the file, or import what was decided. Safe to run twice, and to be killed at any line."""
    row = PersonImport.objects.filter(pk=import_id).first()
    if row is not None and row.state == State.READING:
        _read(row)
    elif row is not None and row.state == State.RUNNING:
        _import(row)


# --- reading -----------------------------------------------------------------------------------------------


def _read(row: PersonImport) -> None:
    token = secrets.token_hex(16)
    with transaction.atomic():
        mine = PersonImport.objects.filter(pk=row.pk, state=State.READING)
        if not mine.update(token=token, progress=0, until=timezone.now() + LEASE):
            return
        PersonImportPart.objects.filter(run=row).delete()
    try:
        text, encoding = decode(bytes(row.content))
        row.content = b""
        found = table(text)
        facts = row.facts | {
            "encoding": encoding, "separator": found.separator, "headings": found.headings,
            "new": 0, "changed": 0, "unchanged": 0, "repeated": 0, "errors": 0, "unverified": 0,
            "shown_errors": [], "shown_changes": [], "new_groups": [],
        }  # fmt: skip
        domains = list(MailDomain.objects.filter(account=row.account_id).values_list("name", flat=True))
        groups: set[str] = set()
        total = 0
        for number, part in enumerate(_parts(lines(found, domains, row.country))):
            good = [line for line in part if isinstance(line, Line)]
            total += len(good)
            groups.update(name for line in good for name in line.groups or ())
            _count(row, facts, part, good)
            if not _keep(row, token, number, part, good):
                return  # another one reads it
    except Unreadable as told:
        _ended(row, token, State.UNREADABLE, {"why": told.why, "line": told.line}, 0)
        return
    facts["new_groups"] = new_groups(row.account_id, groups)
    listed = facts["changed"] + facts["unchanged"]
    facts["missing"] = max(0, Person.objects.filter(account=row.account_id).count() - listed)
    _ended(row, token, State.PREVIEW, facts, total)


def _ended(row: PersonImport, token: str, state: str, facts: dict[str, Any], total: int) -> None:
    PersonImport.objects.filter(pk=row.pk, state=State.READING, token=token).update(
        state=state, facts=facts, total=total, progress=0, content=b"", until=timezone.now() + PREVIEW_KEPT
    )


def _parts(found: Iterator[Line | Wrong | Repeated]) -> Iterator[list[Line | Wrong | Repeated]]:
    part: list[Line | Wrong | Repeated] = []
    for line in found:
        part.append(line)
        if len(part) == PART:
            yield part
            part = []
    if part:
        yield part


def _count(
    row: PersonImport, facts: dict[str, Any], part: list[Line | Wrong | Repeated], good: list[Line]
) -> None:
    known = known_people(row.account_id, [line.address for line in good])
    kinds: Counter[str] = Counter()
    for line in good:
        change = told_change(line, known.get(line.address))
        kinds[change.kind] += 1
        facts["unverified"] += change.unverifies
        if change.kind != "unchanged" and len(facts["shown_changes"]) < SHOWN:
            facts["shown_changes"].append([line.number, line.address, change.kind, change.words])
    for wrong in part:
        if isinstance(wrong, Wrong):
            kinds["errors"] += 1
            if len(facts["shown_errors"]) < SHOWN:
                facts["shown_errors"].append([wrong.number, wrong.text, wrong.why])
        elif isinstance(wrong, Repeated):
            kinds["repeated"] += 1
    for kind, number in kinds.items():
        facts[kind] += number


def _keep(
    row: PersonImport, token: str, number: int, part: list[Line | Wrong | Repeated], good: list[Line]
) -> bool:
    with transaction.atomic():
        mine = PersonImport.objects.filter(pk=row.pk, state=State.READING, token=token)
        # What is through is told in lines while a file is read.
        if not mine.update(progress=F("progress") + len(part), until=timezone.now() + LEASE):
            return False
        PersonImportPart.objects.create(
            run=row,
            number=number,
            lines=[line.stored() for line in good],
            errors=[[one.number, one.text, one.why] for one in part if isinstance(one, Wrong)],
        )
    return True


# --- importing ---------------------------------------------------------------------------------------------


def _import(row: PersonImport) -> None:
    parts = PersonImportPart.objects.filter(run=row)
    for number in range(row.progress, parts.count()):
        found = [Line.restored(one) for one in parts.get(number=number).lines]
        with transaction.atomic():
            mine = PersonImport.objects.filter(pk=row.pk, state=State.RUNNING, progress=number)
            if not mine.update(progress=number + 1, until=timezone.now() + LEASE):
                return  # another one does it
            added, changed = store(row.account_id, found)
            PersonImport.objects.filter(pk=row.pk).update(
                added=F("added") + added, changed=F("changed") + changed
            )
    if row.remove_missing:
        listed = {one["address"] for part in parts.iterator(chunk_size=10) for one in part.lines}
        remove_others(row, listed, PART, LEASE)
    with transaction.atomic():
        done = PersonImport.objects.filter(pk=row.pk, state=State.RUNNING)
        if done.update(state=State.DONE, ended_at=timezone.now()):
            parts.update(lines=[])  # the lines in error stay to be downloaded


def errors_of(row: PersonImport) -> Iterator[tuple[str, str, str]]:
    """Every line in error: its number, what stands there, and why."""
    for part in row.parts.order_by("number").values_list("errors", flat=True).iterator(chunk_size=20):
        for number, text, why in part:
            yield str(number), text, why
