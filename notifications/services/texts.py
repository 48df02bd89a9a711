"""Putting an account's own texts in the place of shipped ones, and back: each an audited decision."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.db.models import QuerySet
from django.utils import translation
from django.utils.translation import gettext as _

from accounts.models import Account
from accounts.services import Actor, Decision, Refused, decision
from notifications import texts
from notifications.kinds import KINDS
from notifications.models import MessageTemplate
from notifications.wording import problems

Part = MessageTemplate.Part


def change_texts(
    account: Account,
    actor: Actor,
    kind: str,
    language: str,
    bodies: Mapping[str, str],
    *,
    request_key: str | None = None,
) -> bool:
    """Use `bodies` (by part) for this kind and language from now on. Says whether that changes anything.

    A part that reads like the shipped one is the shipped one again. Raises Refused, AlreadyDone.
    """
    _check(kind, language)
    bodies = {part: texts.tidied(body) for part, body in bodies.items()}
    for part, body in bodies.items():
        if wrong := problems(kind, part, body):
            raise Refused(f"{Part(part).label}: {wrong[0]}")
    with translation.override(language):
        own = {part: body for part, body in bodies.items() if body != texts.shipped(kind, Part(part))}
    with decision(account.pk, actor, request_key=request_key) as made:
        stored = _stored(account, kind, language)
        before = dict(stored.values_list("part", "body"))
        before_here = {part: before[part] for part in bodies if part in before}
        if own == before_here:
            return False
        stored.filter(part__in=bodies).delete()
        MessageTemplate.objects.bulk_create(
            MessageTemplate(account=account, kind=kind, language=language, part=part, body=body)
            for part, body in own.items()
        )
        _record(made, "text.changed", kind, language, before_here, own)
    return True


def restore_texts(
    account: Account, actor: Actor, kind: str, language: str, *, request_key: str | None = None
) -> None:
    """Back to the shipped texts of this kind and language. Raises Refused, AlreadyDone."""
    _check(kind, language)
    with decision(account.pk, actor, request_key=request_key) as made:
        stored = _stored(account, kind, language)
        before = dict(stored.values_list("part", "body"))
        if not before:
            raise Refused(_("These are the shipped texts already."))
        stored.delete()
        _record(made, "text.restored", kind, language, before, {})


def _check(kind: str, language: str) -> None:
    if kind not in KINDS or language not in dict(settings.LANGUAGES):
        raise Refused(_("There is no such text."))


def _stored(account: Account, kind: str, language: str) -> QuerySet[MessageTemplate]:
    return MessageTemplate.objects.filter(account=account, kind=kind, language=language)


def _record(
    made: Decision, action: str, kind: str, language: str, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """The row keeps the words of what changed, so that any state can be read, and typed, again."""
    parts = [part for part in Part.values if before.get(part) != after.get(part)]
    made.record(
        action,
        subject=f"text:{kind}:{language}",
        after=", ".join(parts),
        texts={part: [before.get(part), after.get(part)] for part in parts},
    )
