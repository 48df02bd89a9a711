"""Reports to senders: what was given up, what is late (RFC 3464). Pure: bytes from plain values."""

from delivery.bounces.report import Built, Fate, Report, build

__all__ = ["Built", "Fate", "Report", "build"]
