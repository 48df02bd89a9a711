"""What console pages need to speak of times, sizes and states in one voice."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from delivery.models import NextHop
from monitoring.models import Monitor, Window
from monitoring.reads import evidence_sentence
from notifications.kinds import KINDS

register = template.Library()

# The state of anything, as one of the five state classes. A word always stands beside it.
COLOURS = {
    "green": {"up", "flowing", "delivered", "sent", "success", "ok"},
    "amber": {"recovering", "suspect", "pausing", "paused", "deferred", "pending", "sending", "held",
              "temporary", "unknown", "suspended", "slow", "refuse4", "stopped_event"},
    "red": {"down", "failure", "failed", "bounced", "rejected", "quarantined", "refused", "host_failure",
            "fault", "permanent", "expired", "outage", "stopped", "refuse5"},
    "blue": {"active"},
}  # fmt: skip
BY_STATE = {state: colour for colour, states in COLOURS.items() for state in states}


@register.filter
def colour(state: object) -> str:
    """The state class of a state, grey when it is none."""
    return BY_STATE.get(str(state), "grey")


@register.simple_tag
def badge(state: object, word: object) -> SafeString:
    """A state as colour, shape and word."""
    return format_html('<span class="badge {}">{}</span>', colour(state), word)


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A length of time in at most two units: 4 s, 12 min, 1 h 12 min, 3 d 4 h."""
    if value is None:
        return ""
    seconds = max(0, int(value.total_seconds() if isinstance(value, timedelta) else value))
    if seconds < 60:
        return _("%(n)s s") % {"n": seconds}
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return _("%(n)s min") % {"n": minutes}
    if hours < 24:
        return (
            _("%(h)s h %(m)s min") % {"h": hours, "m": minutes % 60}
            if minutes % 60
            else _("%(h)s h") % {"h": hours}
        )
    return _("%(d)s d %(h)s h") % {"d": days, "h": hours % 24} if hours % 24 else _("%(d)s d") % {"d": days}


def exact(moment: datetime) -> str:
    """Date, time to the second and zone, in the zone of the page."""
    local = timezone.localtime(moment)
    return f"{date_format(local, 'j M Y, H:i:s')} {local.tzname()}"


def _time(moment: datetime, text: str, live: str = "") -> SafeString:
    """A <time> with the exact one on hover and in print; live.js keeps what is marked for it going."""
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>', moment.isoformat(), exact(moment), live, text
    )


@register.simple_tag
def ago(moment: datetime | None) -> SafeString | str:
    """A time relative to now. live.js keeps it going."""
    if moment is None:
        return "–"
    passed = timezone.now() - moment
    text = _("%(time)s ago") % {"time": duration(passed)} if passed >= timedelta(seconds=1) else _("now")
    return _time(moment, text, " data-ago")


@register.simple_tag
def until(moment: datetime | None) -> SafeString | str:
    """The time left until a moment, counted down by live.js."""
    if moment is None:
        return "–"
    left = moment - timezone.now()
    text = _("in %(time)s") % {"time": duration(left)} if left > timedelta(0) else _("now")
    return _time(moment, text, " data-until")


@register.simple_tag
def clock(moment: datetime | None) -> SafeString | str:
    """A wall-clock time in the zone of the page, with the day unless it is today."""
    return _wall(moment, "H:i", "j M, H:i")


@register.simple_tag
def second(moment: datetime | None) -> SafeString | str:
    """Like `clock`, to the second: for attempts and timelines."""
    return _wall(moment, "H:i:s", "j M H:i:s")


def _wall(moment: datetime | None, today: str, another_day: str) -> SafeString | str:
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    return _time(moment, date_format(local, today if local.date() == timezone.localdate() else another_day))


@register.simple_tag
def request_key() -> SafeString:
    """The nonce of a form: two submits of one rendering decide once."""
    return format_html('<input type="hidden" name="request_key" value="{}">', secrets.token_urlsafe(16))


@register.inclusion_tag("accounts/_field.html")
def field(bound: object) -> dict[str, object]:
    """A form field with its label, help and errors."""
    widget = getattr(getattr(bound, "field", None), "widget", None)
    kind, several = getattr(widget, "input_type", ""), getattr(widget, "allow_multiple_selected", False)
    return {
        "field": bound,
        "check": kind == "checkbox" and not several,
        "many": kind == "radio" or (kind == "checkbox" and several),
    }


@register.filter
def dots(monitor: Monitor) -> list[bool]:
    """The counter as dots, at most twelve; a higher threshold is scaled down, never to nothing."""
    shown = min(monitor.threshold, 12)
    return [n < -(-monitor.counter * shown // monitor.threshold) for n in range(shown)]


@register.filter
def overdue(monitor: Monitor) -> bool:
    """Whether nobody judged the monitor for two windows and a minute: silence must be noticed."""
    until, limit = monitor.judged_until, timedelta(seconds=2 * monitor.window_seconds + 60)
    return monitor.watches and until is not None and timezone.now() - until > limit


@register.filter
def verdict_word(verdict: str) -> str:
    """The name of a window's verdict."""
    return str(Window.Verdict(verdict).label)


@register.filter
def evidence(window: Window) -> str:
    """What a window saw, in a sentence."""
    return evidence_sentence(window)


@register.filter
def route_word(state: str) -> str:
    """The name of a route's state."""
    return str(NextHop.State(state).label)


DECISIONS = {
    "event.activated": _lazy("Continuity mode activated"),
    "event.extended": _lazy("Continuity mode extended"),
    "event.stopped": _lazy("Continuity mode ended"),
    "event.began": _lazy("Continuity mode began by itself"),
    "event.scheduled": _lazy("Event scheduled"),
    "event.changed": _lazy("Scheduled event changed"),
    "event.cancelled": _lazy("Scheduled event cancelled"),
    "event.replaced": _lazy("Replaced by a scheduled event"),
    "event.end_asked": _lazy("Asked whether to extend"),
    "event.ran_out": _lazy("Continuity mode ran out"),
    "checklist.opened": _lazy("Checklist opened"),
    "checklist.item_settled": _lazy("Checklist: settled"),
    "checklist.item_undone": _lazy("Checklist: open again"),
    "checklist.item_waived": _lazy("Checklist: waived"),
    "checklist.waiver_ended": _lazy("Checklist: waiver taken back"),
    "checklist.closed": _lazy("Checklist all done"),
    "checklist.reopened": _lazy("Checklist open again"),
    "checklist.reminded": _lazy("Reminded of the checklist"),
    "call.logged": _lazy("Support call logged"),
    "call.settled": _lazy("Support call settled"),
    "call.reopened": _lazy("Support call open again"),
    "pause.started": _lazy("Deliveries paused"),
    "pause.ended": _lazy("Deliveries resumed"),
    "route.down": _lazy("Mail server down"),
    "route.suspect": _lazy("Mail server suspect"),
    "route.recovering": _lazy("Mail server recovering"),
    "route.up": _lazy("Mail server flowing"),
    "outage.opened": _lazy("Outage opened"),
    "outage.reopened": _lazy("Outage open again"),
    "outage.closed": _lazy("Outage closed"),
    "notifications.resumed": _lazy("Suspension over, as its outage is"),
    "local_fault.told": _lazy("Warned of a fault of the gateway"),
    "monitor.flapping": _lazy("Mail server comes and goes"),
    "outage.acknowledged": _lazy("Outage seen"),
    "monitor.steps_changed": _lazy("Escalation changed"),
    "notifications.suspended": _lazy("Notifications suspended"),
    "expiry.warned": _lazy("Mail about to go back to its senders"),
    "bounces.route_missing": _lazy("Bounces wait for an outbound route"),
    "drain.finished": _lazy("The queue is through"),
    "pause.reminded": _lazy("Reminded that deliveries are paused"),
    "disk.warned": _lazy("Warned that the disk fills up"),
    "mail.redirected": _lazy("Mail sent by another route"),
    "settings.changed": _lazy("Settings changed"),
    "settings.added": _lazy("Settings added"),
    "settings.removed": _lazy("Settings removed"),
    "contact.added": _lazy("Contact added"),
    "contact.changed": _lazy("Contact changed"),
    "contact_point.disabled": _lazy("Contact point disabled"),
    "contact_point.code_sent": _lazy("Verification code sent"),
    "contact_point.verified": _lazy("Contact point verified"),
    "contact_point.wrong_code": _lazy("Wrong verification code"),
    "contact_point.tested": _lazy("Test of a contact point"),
    "link.revoked": _lazy("Link revoked"),
    "text.changed": _lazy("Message texts changed"),
    "text.restored": _lazy("Shipped message texts restored"),
    "alert.decided": _lazy("Contacts alerted"),
    "alert.escalated": _lazy("Next step alerted"),
    "alert.fell_through": _lazy("Alert sent by the next way as well"),
    "alert.recovery": _lazy("Contacts told of the recovery"),
    "message.downloaded": _lazy("Message downloaded"),
    "queue.retry": _lazy("Mail tried again"),
    "queue.hold": _lazy("Mail held"),
    "queue.release": _lazy("Mail released"),
    "queue.redirect": _lazy("Mail sent by another route"),
    "queue.bounce": _lazy("Mail bounced"),
    "queue.reject": _lazy("Mail rejected"),
    "queue.finished": _lazy("Action on the queue finished"),
    "queue.stopped": _lazy("Action on the queue stopped"),
    "queue.undone": _lazy("Action on the queue undone"),
    "recipients.added": _lazy("Recipient added"),
    "recipients.imported": _lazy("Recipients imported"),
    "recipients.removed": _lazy("Recipients removed"),
    "route.tested": _lazy("Route tested"),
    "monitor.tested": _lazy("Monitor tested"),
    "notice.written": _lazy("Notice written"),
    "notice.discarded": _lazy("Draft of a notice deleted"),
    "notice.started": _lazy("Notice sent to people"),
    "notice.paused": _lazy("Notice paused"),
    "notice.resumed": _lazy("Notice resumed"),
    "notice.cancelled": _lazy("Notice cancelled"),
    "notice.retried": _lazy("Notice tried again"),
    "notice.finished": _lazy("Notice finished"),
    "route.test_arrived": _lazy("Test message arrived"),
    "user.signed_in": _lazy("Signed in"),
    "user.sign_in_failed": _lazy("Wrong password or code"),
    "user.locked_out": _lazy("Locked out after wrong passwords or codes"),
    "user.password_changed": _lazy("Password changed"),
    "user.second_factor_set": _lazy("Second factor set up"),
    "user.second_factor_removed": _lazy("Second factor removed"),
    "user.recovery_codes_made": _lazy("New recovery codes made"),
    "user.sessions_ended": _lazy("Sessions signed out"),
}


@register.filter
def alert_word(kind: str) -> str:
    """What kind of notification it is."""
    return str(KINDS[kind].title if kind in KINDS else kind)


@register.filter
def audit_word(action: str) -> str:
    """What was decided, in words; an action without words of its own speaks for itself."""
    return str(DECISIONS.get(action, action.replace(".", " ").replace("_", " ").capitalize()))


@register.filter
def audit_colour(action: str) -> str:
    """The state class of what a decision led to."""
    red, green = {"outage.opened", "outage.reopened", "route.down"}, {"outage.closed", "route.up"}
    blue = {"event.activated", "event.began", "event.extended"}
    amber = {"pause.started", "route.suspect", "route.recovering", "notifications.suspended", "expiry.warned"}
    for name, actions in (("red", red), ("green", green), ("blue", blue), ("amber", amber)):
        if action in actions:
            return name
    return "grey"
