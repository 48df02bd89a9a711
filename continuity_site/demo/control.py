"""What the console does with the demo mail server: see and set its mode, see what it took."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from continuity_site.demo import store
from continuity_site.demo.store import Mode, Received

__all__ = ["Mode", "Received", "count", "get_mode", "received", "set_mode"]


def get_mode() -> Mode:
    """How the demo mail server behaves now, or will within half a second."""
    return store.read_mode(_directory())


def set_mode(mode: str) -> None:
    """Make the demo mail server behave so within half a second. Raises ValueError for an unknown mode."""
    store.write_mode(_directory(), Mode(mode))


def received(limit: int) -> list[Received]:
    """The newest messages that the demo mail server took, newest first; it keeps 2,000."""
    return store.read_index(_directory(), limit)


def count() -> int:
    """All messages that the demo mail server ever took; one for several recipients counts once."""
    newest = received(1)
    return newest[0].number if newest else 0


def _directory() -> Path:
    return Path(settings.DATA_DIR) / "demo"
