"""What is stored of mail: routes and their state, messages, recipients, attempts, pauses."""

from delivery.models.actions import BulkAction, BulkActionItem
from delivery.models.flow import Pause, QueueSample
from delivery.models.functions import Folded, SenderKey
from delivery.models.known import KnownRecipient, RecipientImport
from delivery.models.mail import Message, MessageContent
from delivery.models.queue import Attempt, Recipient, RecipientQuerySet
from delivery.models.route_tests import RouteTest
from delivery.models.routes import NextHop, Route, RouteHost
from delivery.models.settings import DeliverySettings, SubmissionUser
from delivery.models.sinks import SinkMail, SinkRoute

__all__ = [
    "Attempt",
    "BulkAction",
    "BulkActionItem",
    "DeliverySettings",
    "Folded",
    "KnownRecipient",
    "Message",
    "MessageContent",
    "NextHop",
    "Pause",
    "QueueSample",
    "Recipient",
    "RecipientImport",
    "RecipientQuerySet",
    "Route",
    "RouteHost",
    "RouteTest",
    "SenderKey",
    "SinkMail",
    "SinkRoute",
    "SubmissionUser",
]
