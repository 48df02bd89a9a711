"""How mail is retried, what a server's reply means, and how the state of a next hop moves.

Pure functions over plain values; `now` is passed in. `docs/delivery.md` tells the same in prose.
"""

from delivery.rules.hops import (
    CANARIES_TO_RECOVER,
    Completed,
    Deferred,
    Drained,
    Event,
    Failed,
    Held,
    Hop,
    Limits,
    Outcome,
    Refused,
    SenderRefused,
    State,
    Throttled,
    advance,
    judge,
)
from delivery.rules.replies import Verdict, classify, is_about_the_recipient, is_too_many_recipients
from delivery.rules.retries import (
    FAULT_RETRY,
    FAULTS_TO_QUARANTINE,
    THROTTLED_RETRY,
    TOLERANT_RETRY,
    next_attempt_age,
    retry_ages,
)

__all__ = [
    "CANARIES_TO_RECOVER",
    "FAULTS_TO_QUARANTINE",
    "FAULT_RETRY",
    "THROTTLED_RETRY",
    "TOLERANT_RETRY",
    "Completed",
    "Deferred",
    "Drained",
    "Event",
    "Failed",
    "Held",
    "Hop",
    "Limits",
    "Outcome",
    "Refused",
    "SenderRefused",
    "State",
    "Throttled",
    "Verdict",
    "advance",
    "classify",
    "is_about_the_recipient",
    "is_too_many_recipients",
    "judge",
    "next_attempt_age",
    "retry_ages",
]
