"""Charts of monitors for templates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template
from django.db.models import Q
from django.utils import timezone

from monitoring.charts import Point, counter_chart
from monitoring.models import Monitor, Window

register = template.Library()

# A day of 2-minute windows.
WINDOWS = 720


@register.inclusion_tag("monitoring/_counter_chart.html", name="counter_chart")
def counter_chart_tag(monitor: Monitor) -> dict[str, Any]:
    """`{% load monitoring_charts %}{% counter_chart monitor %}`: its counter over the last 720 windows.

    Two queries. Nothing but a sentence while no window was judged yet.
    """
    now = timezone.now()
    since = now - timedelta(seconds=monitor.window_seconds * WINDOWS)
    windows = monitor.windows.filter(end__gt=since).order_by("end")
    points = [
        Point(start, end, counter, verdict != Window.Verdict.UNKNOWN)
        for start, end, counter, verdict in windows.values_list("start", "end", "counter", "verdict")
    ]
    outages = list(
        monitor.outages.filter(Q(closed_at=None) | Q(closed_at__gt=since))
        .order_by("opened_at")
        .values_list("opened_at", "closed_at")
    )
    chart = counter_chart(points, outages, threshold=monitor.threshold, since=since, until=now)
    return {"chart": chart if points else None, "monitor": monitor, "outages": len(outages)}
