"""The only writer of what is stored here."""

from notifications.services.links import LinkResolver, set_link_resolver
from notifications.services.outbox import notify
from notifications.services.receipts import take_receipt
from notifications.services.sending import send, send_due
from notifications.services.suspensions import suspend, suspended_until

__all__ = [
    "LinkResolver",
    "notify",
    "send",
    "send_due",
    "set_link_resolver",
    "suspend",
    "suspended_until",
    "take_receipt",
]
