"""Pure rules of bulk notices: when to try again, when a sender is gone, how long it takes."""

from __future__ import annotations

from datetime import timedelta

from notifications.rules import DAY, HOUR, Limit

# Waits after a try that this address refused for now; when they are used up, it has failed.
BACKOFF = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600))

# So often a copy may meet trouble that is not its own while others get through.
TRIES_EVERYBODY = 20

# Waits of the whole notice while nothing can be handed over at all; the last one is repeated.
AWAY = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 30, 60, 120, 300))

# Senders renew their claims every few seconds. A claim without a sign of life for so long was left by a
# crash, whatever a provider does.
RENEW_AFTER = timedelta(seconds=10)
STUCK_AFTER = timedelta(seconds=60)

# For the whole installation, besides the limits of alerts: an SMS costs money, and providers take only so
# many a second. What is over a limit waits.
LIMITS = (
    Limit("sms", "installation", 300, timedelta(seconds=1)),
    Limit("sms", "installation", 20_000, HOUR),
    Limit("sms", "installation", 50_000, DAY),
)
# A limit of a moment slows a notice down; a longer one lets it wait.
MOMENT = timedelta(seconds=10)

# The rate that a page tells is that of the last seconds.
RATE_OVER = timedelta(seconds=15)


def wait_of_copy(tries: int, *, everybody: bool) -> timedelta | None:
    """How long a copy waits that was not taken for now after so many tries (1 or more); None: it has failed.

    `everybody`: the reason was not this address, such as a provider's limit. Then there are many tries.
    """
    if everybody:
        return BACKOFF[0] if tries < TRIES_EVERYBODY else None
    return BACKOFF[tries - 1] if tries <= len(BACKOFF) else None


def wait_of_notice(times: int) -> timedelta:
    """How long a notice waits when nothing could be handed over, `times` (1 or more) in a row."""
    return AWAY[min(times, len(AWAY)) - 1]


def rate(finished: int, since: timedelta) -> float:
    """Messages a second, given how many ended in the last `RATE_OVER`, of a notice that began `since` ago."""
    return finished / max(1.0, min(since, RATE_OVER).total_seconds())


def time_left(left: int, per_second: float) -> timedelta | None:
    """Until the last one is through at this rate; None when nothing moves."""
    return timedelta(seconds=left / per_second) if per_second > 0 else None
