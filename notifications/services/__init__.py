"""The only writer of what is stored here."""

from notifications.services.links import LinkResolver, set_link_resolver
from notifications.services.outbox import next_point, notify
from notifications.services.receipts import take_receipt
from notifications.services.sending import send, send_due
from notifications.services.suspensions import end_suspension, suspend, suspended_until
from notifications.services.texts import change_texts, restore_texts

__all__ = [
    "LinkResolver",
    "change_texts",
    "end_suspension",
    "next_point",
    "notify",
    "restore_texts",
    "send",
    "send_due",
    "set_link_resolver",
    "suspend",
    "suspended_until",
    "take_receipt",
]
