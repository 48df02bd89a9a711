"""The life of monitoring itself: when it last judged, and the heartbeat that tells others so."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from monitoring import ourselves, reads
from monitoring.models import Pulse
from monitoring.services.roundtrips import gateway_name
from monitoring.services.selfcheck import remember_witnesses

logger = logging.getLogger(__name__)

EVERY = timedelta(seconds=60)
# The row is written so seldom: whoever asks whether the clock is dead has minutes.
TICKED_EVERY = timedelta(seconds=15)
HEARTBEAT_SECONDS = 10.0
MEANWHILE_SECONDS = 1.0


def note_tick(now: datetime) -> None:
    """Windows are judged now, at a gateway of this name."""
    gateway_name(now)
    old = Q(ticked_at=None) | Q(ticked_at__lte=now - TICKED_EVERY) | Q(ticked_at__gt=now)
    Pulse.objects.filter(old, pk=1).update(ticked_at=now)


def beat(now: datetime, meanwhile: Callable[[], object]) -> bool:
    """Once a minute: ask who is there outside, and call the heartbeat URL while monitoring runs.

    Both take seconds when nobody answers; `meanwhile` is called every second. Returns whether it was called.
    """
    Pulse.get()
    old = Q(beaten_at=None) | Q(beaten_at__lte=now - EVERY) | Q(beaten_at__gt=now)
    if not Pulse.objects.filter(old, pk=1).update(beaten_at=now):
        return False
    lives = settings.HEARTBEAT_URL != "" and not reads.is_overdue(now)
    with ThreadPoolExecutor(2, "pulse") as threads:
        asked = threads.submit(ourselves.ask, ourselves.witnesses())
        called = threads.submit(lambda: lives and call_heartbeat())
        while wait([asked], MEANWHILE_SECONDS).not_done or wait([called], MEANWHILE_SECONDS).not_done:
            meanwhile()
    remember_witnesses(asked.result())
    return called.result()


def call_heartbeat() -> bool:
    """GET the URL of HEARTBEAT_URL. Whether it was answered with success; says nothing of it but the host."""
    try:
        # A system check has seen that it is http or https.
        with urllib.request.urlopen(settings.HEARTBEAT_URL, timeout=HEARTBEAT_SECONDS) as answer:  # noqa: S310
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        logger.warning("the heartbeat was not heard: HTTP %d", error.code)
        return False
    except (OSError, ValueError, http.client.HTTPException) as error:
        logger.warning("the heartbeat was not heard: %s", type(error).__name__)
        return False
    return True
