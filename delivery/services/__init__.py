"""The only writer of mail: accepting, sending, pausing."""

from delivery.services.accepting import NewMessage, NewRecipient, accept, ensure_next_hop
from delivery.services.pausing import pause, resume
from delivery.services.redirecting import redirect

__all__ = ["NewMessage", "NewRecipient", "accept", "ensure_next_hop", "pause", "redirect", "resume"]
