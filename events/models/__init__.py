"""What is stored of deciding, by part."""

from events.models.alerts import AlertSettings, AlertStream, EscalationStep, FeedCursor
from events.models.checklist import Checklist, ChecklistItem, SupportCall
from events.models.event import ContinuityEvent, EventQuerySet
from events.models.links import ManageLink

__all__ = [
    "AlertSettings",
    "AlertStream",
    "Checklist",
    "ChecklistItem",
    "ContinuityEvent",
    "EscalationStep",
    "EventQuerySet",
    "FeedCursor",
    "ManageLink",
    "SupportCall",
]
