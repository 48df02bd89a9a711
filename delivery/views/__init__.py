"""The queue pages: the list, a message, and what is done to many."""

from delivery.views.actions import act, action, actions, stop, undo
from delivery.views.message import download, message
from delivery.views.queue import queue

__all__ = ["act", "action", "actions", "download", "message", "queue", "stop", "undo"]
