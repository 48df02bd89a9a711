"""Handing out the content of a message: written into the audit first."""

from __future__ import annotations

from accounts.services import Actor, decision
from delivery.models import Message, MessageContent
from delivery.services.claims import content_of


def content_for(message: Message, actor: Actor) -> bytes | None:
    """The stored bytes, for somebody whose name then stands in the audit; None when they were deleted."""
    with decision(message.account_id, actor) as made:
        if not MessageContent.objects.filter(pk=message.pk).exists():
            return None
        made.record("message.downloaded", subject=f"message:{message.pk}", size=message.size)
    try:
        return content_of(message.pk)
    except MessageContent.DoesNotExist:
        return None
