"""What higher apps may wait for instead of asking on their next tick. Whoever misses it finds it there."""

from django.dispatch import Signal

outages_moved = Signal()
"""Outages were opened or closed, and that is committed. Sent once for many."""
