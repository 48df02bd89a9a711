"""The only writer of known recipients, but for those that are learned: one by one, and lists."""

from __future__ import annotations

import hashlib
import logging
import math
from datetime import datetime, timedelta
from functools import partial

import django_rq
from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.models import MailDomain
from accounts.services import Actor, Refused, decision
from delivery.models import KnownRecipient, RecipientImport
from delivery.recipients_import import Listing, Why, normalise, read_list

logger = logging.getLogger(__name__)

Source, State = KnownRecipient.Source, RecipientImport.State
PREVIEW_KEPT = timedelta(hours=1)
LEASE = timedelta(minutes=2)  # without progress for so long, whoever imported is gone
HISTORY = 20  # imports kept of each domain
BATCH = 2000  # addresses in one transaction: others write between two
AT_ONCE = 5000  # a list no longer than this is imported while the user waits
QUEUE = "bulk"


# --- one by one --------------------------------------------------------------------------------------------


def add(domain: MailDomain, actor: Actor, address: str, *, request_key: str | None = None) -> KnownRecipient:
    """Make one address known. Raises Refused, AlreadyDone."""
    found = normalise(address, domain.name)
    if isinstance(found, Why):
        raise Refused(
            _("%(address)s is not an address of %(domain)s.")
            % {"address": address[:120] or "–", "domain": domain.name}
        )
    with decision(domain.account_id, actor, request_key=request_key) as decided:
        row, new = KnownRecipient.objects.get_or_create(
            address=found, defaults={"domain": domain, "source": Source.ALIAS}
        )
        if not new:
            raise Refused(_("%(address)s is known already.") % {"address": found})
        decided.record("recipients.added", subject=f"domain:{domain.pk}", after=found[:160])
    return row


def remove(domain: MailDomain, actor: Actor, pk: int, *, request_key: str | None = None) -> str:
    """Forget one address, and return it. Raises Refused, AlreadyDone."""
    with decision(domain.account_id, actor, request_key=request_key) as decided:
        row = KnownRecipient.objects.filter(pk=pk, domain=domain).first()
        if row is None:
            raise Refused(_("This address is not in the list any more."))
        decided.record(
            "recipients.removed", subject=f"domain:{domain.pk}", before=row.address[:160], source=row.source
        )
        row.delete()
    return row.address


# --- lists -------------------------------------------------------------------------------------------------


def preview(domain: MailDomain, actor: Actor, file_name: str, data: bytes, now: datetime) -> RecipientImport:
    """Read a file and keep what it holds for an hour. Changes no recipient. Raises Unreadable."""
    listing = read_list(data, domain.name)
    facts = _facts(domain, listing) | {"sha256": hashlib.sha256(data).hexdigest()}
    _tidy_up(domain, now)
    return RecipientImport.objects.create(
        domain=domain,
        made_at=now,
        made_by=actor.name,
        file_name="".join(c if c.isprintable() else " " for c in file_name)[-120:],
        until=now + PREVIEW_KEPT,
        facts=facts,
        addresses="\n".join(listing.addresses),
        total=len(listing.addresses),
    )


def _facts(domain: MailDomain, listing: Listing) -> dict[str, object]:
    listed = set(listing.addresses)
    known = dict(KnownRecipient.objects.filter(domain=domain).values_list("address", "source"))
    imported = {address for address, source in known.items() if source == Source.IMPORTED}
    gone = sorted(imported - listed)
    return {
        "encoding": listing.encoding,
        "separator": listing.separator,
        "heading": listing.heading,
        "lines": listing.lines,
        "duplicates": listing.duplicates,
        "refused": {why.value: count for why, count in listing.refused.items()},
        "shown": [[line.number, line.text, line.why.value] for line in listing.shown],
        "new": len(listed - known.keys()),
        "known": len(listed & known.keys()),
        "gone": len(gone),
        "gone_first": gone[:10],
        "new_first": [address for address in listing.addresses if address not in known][:10],
    }


def _tidy_up(domain: MailDomain, now: datetime) -> None:
    """Previews that nobody used, and old history."""
    imports = RecipientImport.objects.filter(domain=domain)
    imports.filter(state=State.PREVIEW, until__lt=now).delete()
    old = imports.filter(state=State.DONE).order_by("-pk").values_list("pk", flat=True)[HISTORY:]
    imports.filter(pk__in=list(old)).delete()


def confirm(
    row: RecipientImport,
    actor: Actor,
    *,
    replace: bool,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """Decide to import a preview: a short list at once, a long one by a job. Raises Refused, AlreadyDone."""
    with decision(row.domain.account_id, actor, request_key=request_key, now=now) as decided:
        if replace and not row.total:
            raise Refused(_("The file holds no address of this domain: nobody would be known any more."))
        mine = RecipientImport.objects.filter(pk=row.pk, state=State.PREVIEW, until__gte=decided.now)
        if not mine.update(state=State.RUNNING, replace=replace, until=decided.now + LEASE):
            raise Refused(_("This preview was used already, or is too old. Upload the file again."))
        decided.record(
            "recipients.imported",
            subject=f"domain:{row.domain_id}",
            after=row.domain.name,
            list=row.pk,
            file=row.file_name,
            sha256=row.facts.get("sha256"),
            addresses=row.total,
            expected={name: row.facts.get(name) for name in ("new", "known", "gone")},
            replace=replace,
        )
        long = row.total + (row.facts.get("gone", 0) if replace else 0) > AT_ONCE
        transaction.on_commit(partial(_enqueue if long else run, row.pk))


def carry_on(row: RecipientImport, now: datetime) -> None:
    """Have an import that was cut off carried on where it was. Raises Refused when it is not."""
    mine = RecipientImport.objects.filter(pk=row.pk, state=State.RUNNING, until__lt=now)
    if not mine.update(until=now + LEASE):
        raise Refused(_("This import is running, or has ended."))
    _enqueue(row.pk)


def sweep(now: datetime) -> None:
    """Have carried on what a worker left that died, or that Redis forgot."""
    left = RecipientImport.objects.filter(state=State.RUNNING, until__lt=now)
    for pk in list(left.values_list("pk", flat=True)):
        if left.filter(pk=pk).update(until=now + LEASE):
            _enqueue(pk)


def _enqueue(import_id: int) -> None:
    try:
        django_rq.get_queue(QUEUE).enqueue("delivery.recipients_jobs.run_import", import_id, result_ttl=0)
    except RedisError as error:  # it shows as interrupted, and can be carried on
        logger.warning("import %s has no worker: %s", import_id, type(error).__name__)


def run(import_id: int) -> None:
    """Import what was decided, a batch in a transaction. Safe to run twice, and to be killed at any line.

    New addresses come before old ones go, so that nobody is unknown meanwhile who should be known.
    """
    row = RecipientImport.objects.filter(pk=import_id, state=State.RUNNING).first()
    if row is None:
        return
    listed = row.addresses.split("\n") if row.addresses else []
    for batch in range(math.ceil(row.progress / BATCH), math.ceil(len(listed) / BATCH)):
        chunk = listed[batch * BATCH : (batch + 1) * BATCH]
        if not _add_batch(row, batch * BATCH, chunk):
            return  # another one does it
    if row.replace:
        _remove_others(row, set(listed))
    RecipientImport.objects.filter(pk=row.pk, state=State.RUNNING).update(
        state=State.DONE, addresses="", ended_at=timezone.now()
    )


def _add_batch(row: RecipientImport, progress: int, chunk: list[str]) -> bool:
    with transaction.atomic():
        mine = RecipientImport.objects.filter(pk=row.pk, state=State.RUNNING, progress=progress)
        known = set(KnownRecipient.objects.filter(address__in=chunk).values_list("address", flat=True))
        new = [
            KnownRecipient(domain_id=row.domain_id, address=address, source=Source.IMPORTED)
            for address in chunk
            if address not in known
        ]
        if not mine.update(
            progress=progress + len(chunk), added=F("added") + len(new), until=timezone.now() + LEASE
        ):
            return False
        KnownRecipient.objects.bulk_create(new, ignore_conflicts=True)
    return True


def _remove_others(row: RecipientImport, listed: set[str]) -> None:
    imported = KnownRecipient.objects.filter(domain_id=row.domain_id, source=Source.IMPORTED)
    stale = [pk for pk, address in imported.values_list("pk", "address") if address not in listed]
    for start in range(0, len(stale), BATCH):
        with transaction.atomic():
            gone, _by_model = imported.filter(pk__in=stale[start : start + BATCH]).delete()
            RecipientImport.objects.filter(pk=row.pk).update(
                removed=F("removed") + gone, until=timezone.now() + LEASE
            )


def counts(domain: MailDomain) -> dict[str, int]:
    """How many addresses of a domain are known, by source."""
    found = dict(
        KnownRecipient.objects.filter(domain=domain).order_by().values_list("source").annotate(n=Count("pk"))
    )
    return {source: found.get(source, 0) for source in Source.values}
