"""The books: they balance over real acceptance, and each way in which they can be wrong is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account
from accounts.services import SCHEDULER, decision
from delivery.models import Attempt, Message, MessageContent, Recipient, Route
from delivery.reads import Scope, reconcile, reconcile_days
from delivery.services import NewMessage, NewRecipient, accept, ensure_next_hop
from events.books import span
from events.models import ContinuityEvent
from tests.support.gateway import account

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
State = Recipient.State


def take(made: Account, *to: str, at: datetime = NOW) -> list[Recipient]:
    """A message to so many recipients, through the gateway's own service."""
    hop = ensure_next_hop(Route.objects.get(account=made))
    new = NewMessage(
        made.pk, "bob@else.example", b"x\r\n", [NewRecipient(a, hop.pk) for a in to], "192.0.2.1"
    )
    accept([new], now=at)
    return list(Recipient.objects.filter(message__accepted_at=at).order_by("pk"))


def deliver(recipient: Recipient, at: datetime = NOW, times: int = 1) -> None:
    for _ in range(times):
        Attempt.objects.create(
            recipient=recipient,
            next_hop=recipient.next_hop,
            at=at,
            duration_ms=1,
            result=Attempt.Result.DELIVERED,
            stage="end",
            code=250,
        )
    Recipient.objects.filter(pk=recipient.pk).update(state=State.DELIVERED, final_at=at, attempts=1)


def end(recipient: Recipient, state: str, at: datetime = NOW) -> None:
    Recipient.objects.filter(pk=recipient.pk).update(state=state, final_at=at)


def test_accepted_is_delivered_bounced_rejected_and_still_here() -> None:
    made = account()
    one, two, three, _four = take(made, "a@x", "b@x", "c@x", "d@x")
    deliver(one)
    end(two, State.BOUNCED)
    report_on(two)
    end(three, State.REJECTED)
    take(account("two"), "other@x", at=NOW + HOUR)

    books = reconcile(Scope(made.pk))

    figures = books.balance
    assert (figures.accepted, figures.delivered, figures.bounced, figures.rejected) == (5, 1, 1, 2)
    assert figures.waiting == 1
    assert books.balanced
    assert books.problems == ()
    assert books.duplicates is None


def report_on(recipient: Recipient, at: datetime = NOW) -> None:
    """A bounce, as far as the books look at it, which got lost on its way: only the telling counts."""
    row = Message.objects.create(
        account=recipient.message.account,
        accepted_at=at,
        size=1,
        client_address="127.0.0.1",
        report=Message.Report.FAILURE,
        report_of=recipient.message,
        content_deleted_at=at,
    )
    Recipient.objects.create(
        message=row,
        next_hop=recipient.next_hop,
        address="bob@else.example",
        accepted_at=at,
        next_attempt_at=at,
        expires_at=at,
        final_at=at,
        state=State.REJECTED,
    )


def bounce_without_report(one: Recipient) -> None:
    end(one, State.BOUNCED)


def bounce_with_the_report_on_another(one: Recipient) -> None:
    end(one, State.BOUNCED)
    report_on(one, NOW - HOUR)


def wait_without_content(one: Recipient) -> None:
    MessageContent.objects.all().delete()
    Message.objects.update(content_deleted_at=NOW)


def lose_content(one: Recipient) -> None:
    deliver(one)
    MessageContent.objects.all().delete()


def deliver_without_attempt(one: Recipient) -> None:
    deliver(one, times=0)


def attempt_without_delivery(one: Recipient) -> None:
    deliver(one)
    Recipient.objects.update(state=State.BOUNCED)


def final_without_time(one: Recipient) -> None:
    deliver(one)
    Recipient.objects.update(final_at=None)


def waiting_with_final_time(one: Recipient) -> None:
    Recipient.objects.update(final_at=NOW)


def sending_without_claim(one: Recipient) -> None:
    Recipient.objects.update(state=State.SENDING)


def claim_without_sending(one: Recipient) -> None:
    Recipient.objects.update(claimed_by="courier", claimed_at=NOW)


def unknown_state(one: Recipient) -> None:
    Recipient.objects.update(state="lost")


def attempts_without_rows(one: Recipient) -> None:
    Recipient.objects.update(attempts=3)


def no_recipients(one: Recipient) -> None:
    Recipient.objects.all().delete()


def one_recipient_less(one: Recipient) -> None:
    one.delete()


def route_of_another(one: Recipient) -> None:
    other = ensure_next_hop(Route.objects.get(account=account("two")))
    Recipient.objects.filter(pk=one.pk).update(next_hop=other)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (wait_without_content, "waits, but its content is gone"),
        (lose_content, "its content is gone, though"),
        (deliver_without_attempt, "delivered, but no attempt says so"),
        (attempt_without_delivery, "an attempt delivered it"),
        (bounce_without_report, "no report to its sender"),
        (bounce_with_the_report_on_another, "no report to its sender"),
        (final_without_time, "final, but without the time"),
        (waiting_with_final_time, "has a final time, but still waits"),
        (sending_without_claim, "being sent, but by nobody"),
        (claim_without_sending, "claimed, but not being sent"),
        (unknown_state, "its state does not exist"),
        (attempts_without_rows, "more attempts are counted"),
        (no_recipients, "has no recipients"),
        (one_recipient_less, "not as many recipients"),
        (route_of_another, "a route of another account"),
    ],
)
def test_what_is_wrong_is_found(damage: Callable[[Recipient], None], words: str) -> None:
    made = account()
    one, _two = take(made, "a@x", "b@x")
    assert reconcile(Scope(made.pk)).balanced

    damage(one)

    books = reconcile(Scope(made.pk))
    assert not books.balanced
    assert any(words in str(problem.what) for problem in books.problems), books.problems


def test_a_recipient_that_vanished_leaves_the_sum_wrong() -> None:
    made = account()
    one, *_ = take(made, "a@x", "b@x")
    one.delete()

    assert not reconcile(Scope(made.pk)).balance.balanced
    (day,) = reconcile_days(Scope(made.pk))
    assert (day.balance.accepted, day.balance.waiting) == (2, 1)


def test_a_second_delivery_is_flagged_and_no_fault_of_the_books() -> None:
    made = account()
    one, two = take(made, "a@x", "b@x")
    deliver(one, times=2)
    deliver(two)

    books = reconcile(Scope(made.pk))

    assert books.balanced
    assert books.duplicates
    assert (books.duplicates.number, books.duplicates.examples) == (1, (f"recipient {one.pk}",))


def test_days_are_those_of_acceptance_in_utc() -> None:
    made = account()
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    (early,) = take(made, "a@x", at=midnight - timedelta(microseconds=1))
    take(made, "b@x", "c@x", at=midnight)
    deliver(early, at=midnight + HOUR)

    days = reconcile_days(Scope(made.pk))

    assert [(str(d.day), d.balance.accepted, d.balance.delivered) for d in days] == [
        ("2026-03-09", 1, 1),
        ("2026-03-10", 2, 0),
    ]
    assert reconcile(Scope.day(made.pk, midnight.date())).balance.accepted == 2


def event_of(made: Account, start: datetime, end_: datetime) -> ContinuityEvent:
    return ContinuityEvent.objects.create(
        account=made,
        title="Event",
        state=ContinuityEvent.State.ENDED,
        starts_at=start,
        ends_at=end_,
        ended_at=end_,
        began=ContinuityEvent.Began.CONSOLE,
        began_by="Maria",
    )


def test_an_event_has_what_waited_at_its_start_and_what_came_until_the_queue_had_drained() -> None:
    made = account()
    (gone,) = take(made, "gone@x", at=NOW - 2 * HOUR)
    deliver(gone, at=NOW - 2 * HOUR)
    (waited,) = take(made, "waited@x", at=NOW - HOUR)
    deliver(waited, at=NOW + 3 * HOUR)
    take(made, "during@x", at=NOW + HOUR)
    take(made, "draining@x", at=NOW + 2.5 * HOUR)
    take(made, "after@x", at=NOW + 4 * HOUR)
    hop = ensure_next_hop(Route.objects.get(account=made)).pk
    for action, hours in (
        ("route.down", 0.5),
        ("route.recovering", 1.5),
        ("route.up", 3.5),
        ("route.down", 9),
    ):
        with decision(made.pk, SCHEDULER, now=NOW + hours * HOUR) as made_now:
            made_now.record(action, next_hop=hop)
    event = event_of(made, NOW, NOW + 2 * HOUR)

    found = span(event, NOW + 10 * HOUR)
    books = reconcile(found.scope(made.pk))

    assert (found.start, found.end, found.draining) == (NOW, NOW + 3.5 * HOUR, False)
    assert (books.balance.accepted, books.balance.delivered, books.balance.waiting) == (3, 1, 2)
    assert books.balanced


def test_the_set_of_an_active_event_ends_now() -> None:
    made = account()
    event = event_of(made, NOW, NOW + 2 * HOUR)
    event.ended_at = None
    assert span(event, NOW + HOUR).end == NOW + HOUR
    assert span(event, NOW + HOUR).draining


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("reconcile", *arguments, stdout=out, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_the_command_ends_with_1_and_the_list_when_the_books_do_not_balance() -> None:
    made = account()
    (one,) = take(made, "a@x")

    code, said = run("--account", "one", "--days")
    assert code == 0
    assert "1 accepted = 0 delivered + 0 bounced + 0 rejected + 1 still here" in said
    assert "The books balance." in said

    final_without_time(one)
    code, said = run()
    assert code == 1
    assert f"WRONG: 1 × final, but without the time of it: recipient {one.pk}" in said
    code, said = run("--json", "--day", "2026-03-10")
    assert code == 1
    assert json.loads(said)["problems"][0]["examples"] == [f"recipient {one.pk}"]
    assert run("--day", "2026-03-11")[0] == 0

    event = event_of(made, NOW - HOUR, NOW + HOUR)
    assert run("--event", str(event.pk))[0] == 1


@pytest.mark.parametrize("arguments", [("--account", "none"), ("--day", "tomorrow"), ("--event", "77")])
def test_the_command_says_what_it_does_not_know(arguments: tuple[str, ...]) -> None:
    account()
    with pytest.raises(CommandError):
        call_command("reconcile", *arguments)
