"""Read-only questions about the queue, for pages and for the apps above. Constant numbers of queries.

Counts are of recipients unless a name says messages. All datetimes are aware UTC wall time, but for
`Recipient.expires_at`, which is on the account's running clock (see `running_now`).
"""

from delivery.reads.attempts import Evidence, evidence, evidence_by_window, routes_with_failed_mail
from delivery.reads.expiry import (
    Expiring,
    accounts_expiring,
    accounts_without_bounce_route,
    bounces_waiting,
    bounces_without_route,
    expires_within,
    inbound_expires_first,
    queue_lifetime,
)
from delivery.reads.flow import CHART_BUCKETS, Rate, delivery_rates
from delivery.reads.history import (
    Depth,
    DiskForecast,
    Drained,
    disk_forecast,
    drained_between,
    queue_history,
)
from delivery.reads.queue import (
    RATE_SPAN,
    Drain,
    PauseState,
    QueueFigures,
    RouteQueue,
    drain_progress,
    expires_first,
    inbound_state,
    pause_state,
    queue_by_route,
    queue_figures,
    running_now,
)
from delivery.reads.reconcile import (
    Balance,
    Books,
    Day,
    Scope,
    balance,
    reconcile,
    reconcile_account,
    reconcile_days,
)
from delivery.reads.stuck import STUCK, stuck_for

__all__ = [
    "CHART_BUCKETS",
    "RATE_SPAN",
    "STUCK",
    "Balance",
    "Books",
    "Day",
    "Depth",
    "DiskForecast",
    "Drain",
    "Drained",
    "Evidence",
    "Expiring",
    "PauseState",
    "QueueFigures",
    "Rate",
    "RouteQueue",
    "Scope",
    "accounts_expiring",
    "accounts_without_bounce_route",
    "balance",
    "bounces_waiting",
    "bounces_without_route",
    "delivery_rates",
    "disk_forecast",
    "drain_progress",
    "drained_between",
    "evidence",
    "evidence_by_window",
    "expires_first",
    "expires_within",
    "inbound_expires_first",
    "inbound_state",
    "pause_state",
    "queue_by_route",
    "queue_figures",
    "queue_history",
    "queue_lifetime",
    "reconcile",
    "reconcile_account",
    "reconcile_days",
    "routes_with_failed_mail",
    "running_now",
    "stuck_for",
]
