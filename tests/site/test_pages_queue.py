"""The queue's pages: the question before an action, its page, the message and its file, and who may what."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from accounts.models import AuditEntry, Membership
from delivery.models import BulkAction, MessageContent, NextHop, Recipient
from delivery.reads import search
from delivery.services import queue_actions, queue_steps
from tests.site.pages import NOW, World, make_world, signed_in
from tests.site.rows import SECRET

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def world() -> World:
    return make_world("ours", rows=3)


@pytest.fixture
def maria(world: World) -> Client:
    return signed_in(world, Membership.Role.ADMINISTRATOR)


def ids(world: World) -> list[int]:
    return list(Recipient.objects.filter(message__account=world.account).values_list("pk", flat=True))


def hidden(page: str) -> dict[str, list[str]]:
    """The hidden fields of the question, as its form would send them."""
    form = page[page.index('<form class="panel form') :]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    return fields


def answer(client: Client, query: str, **more: object) -> str:
    page = client.get(f"/queue/act/?{query}").content.decode()
    data: dict[str, object] = {**hidden(page), "reason": "because", **more}
    return client.post("/queue/act/", data, follow=True).content.decode()


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("retry", "Try 2 messages again now?"),
        ("hold", "Hold 2 messages here?"),
        ("redirect", "Send 2 messages by another route?"),
        ("bounce", "Bounce 2 messages to their senders? This cannot be undone."),
        ("reject", "Reject 2 messages without telling their senders? This cannot be undone."),
    ],
)
def test_the_question_says_what_will_happen_and_changes_nothing(
    world: World, maria: Client, kind: str, question: str
) -> None:
    chosen = "&".join(f"r={pk}" for pk in ids(world)[:2])
    page = maria.get(f"/queue/act/?action={kind}&{chosen}").content.decode()
    assert question in page
    assert ('class="button danger"' in page) == (kind in ("bounce", "reject"))
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    assert BulkAction.objects.count() == 3, "those of the world"


def test_chosen_ones_are_held_with_a_reason_and_the_rest_is_not(world: World, maria: Client) -> None:
    first, second, third = ids(world)
    page = answer(maria, f"action=hold&r={first}&r={third}")
    assert "Hold: 2 messages." in page
    assert "because" in page
    states = dict(Recipient.objects.values_list("pk", "state"))
    assert states == {first: "held", second: "queued", third: "held"}
    entry = AuditEntry.objects.get(action="queue.hold")
    assert (entry.reason, entry.actor_name, entry.details["done"]) == ("because", "Administrator-Ours", 2)
    page = maria.post(f"/queue/actions/{world.bulk.pk}/undo/", {"reason": "oh"}, follow=True).content.decode()
    assert "Release: 2 messages." in page
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    timeline = words(maria.get(f"/queue/{world.message.pk}/").content.decode())
    assert "Hold, by Administrator-Ours" in timeline
    assert "Release, by Administrator-Ours" in timeline


def test_all_that_match_are_those_of_the_filter_when_it_was_asked(world: World, maria: Client) -> None:
    page = maria.get("/queue/act/?action=hold&all=1&subject=subject&state=queued").content.decode()
    assert "Hold 3 messages here?" in page
    late = world.message.recipients.get()
    late.pk = None
    late.save()
    maria.post("/queue/act/", {**hidden(page), "reason": "because"})
    assert Recipient.objects.filter(state="held").count() == 3
    late.refresh_from_db()
    assert late.state == "queued"
    assert world.bulk.criteria["subject"] == "subject"


def test_without_a_reason_or_a_route_nothing_is_done(world: World, maria: Client) -> None:
    query = f"action=redirect&r={ids(world)[0]}"
    assert "This field is required" in answer(maria, query, reason="")
    assert "This field is required" in answer(maria, query, route="")
    theirs = make_world("theirs")
    assert "Select a valid choice" in answer(maria, query, route=theirs.route.pk)
    assert not AuditEntry.objects.filter(action__startswith="queue.").exists()
    assert "Redirect: 1 message." in answer(maria, query, route=world.route.pk)


def test_a_double_submit_does_it_once(world: World, maria: Client) -> None:
    page = maria.get(f"/queue/act/?action=retry&r={ids(world)[0]}").content.decode()
    data = {**hidden(page), "reason": "because"}
    assert "Retry now: 1 message." in maria.post("/queue/act/", data, follow=True).content.decode()
    assert "nothing was done twice" in maria.post("/queue/act/", data, follow=True).content.decode()
    assert AuditEntry.objects.filter(action="queue.retry").count() == 1


@pytest.mark.parametrize("query", ["", "action=hold", "action=hold&r=x&r=-1&r=²", "action=hold&r=999999"])
def test_nothing_selected_is_said(maria: Client, query: str) -> None:
    response = maria.get(f"/queue/act/?{query}", follow=True)
    if not query:
        assert response.status_code == 404
    else:
        assert re.search("Choose at least one|Nothing matches any more", response.content.decode())


def test_many_show_progress_that_can_be_stopped(
    world: World, maria: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_actions, "AT_ONCE", 1)
    monkeypatch.setattr(queue_steps, "STEP", 1)
    answer(maria, "action=hold&all=1&state=queued")
    queue_steps.count(world.bulk.pk)
    assert queue_steps.advance(world.bulk.pk, NOW)
    page = maria.get(f"/queue/actions/{world.bulk.pk}/").content.decode()
    assert '<progress value="1" max="3"' in page
    assert "An action is running" in maria.get("/queue/").content.decode()
    page = maria.post(f"/queue/actions/{world.bulk.pk}/stop/", follow=True).content.decode()
    assert "Stopped. What was changed so far stays so." in page
    assert "Releases those that are still held." in page
    assert Recipient.objects.filter(state="held").count() == 1


def test_support_reads_but_neither_acts_nor_downloads(world: World) -> None:
    sam = signed_in(world, Membership.Role.SUPPORT)
    pk = world.bulk.pk
    for address in ("/queue/act/", f"/queue/{world.message.pk}/eml/"):
        assert sam.post(address, {"action": "hold", "r": ids(world), "reason": "x"}).status_code == 403
    for part in ("stop", "undo"):
        assert sam.post(f"/queue/actions/{pk}/{part}/", {"reason": "x"}).status_code == 403
    page = sam.get("/queue/").content.decode() + sam.get(f"/queue/{world.message.pk}/").content.decode()
    assert 'type="checkbox"' not in page
    assert "Download" not in page
    assert "ours header" not in page
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    assert sam.get(f"/queue/actions/{pk}/").status_code == 200


def test_nothing_of_another_account_can_be_acted_on(world: World, maria: Client) -> None:
    theirs = make_world("theirs")
    answer_page = maria.post(
        "/queue/act/", {"action": "hold", "r": ids(theirs), "reason": "x"}, follow=True
    ).content.decode()
    assert "Nothing matches any more" in answer_page
    for part in ("stop", "undo"):
        address = f"/queue/actions/{theirs.bulk.pk}/{part}/"
        assert maria.post(address, {"reason": "x"}).status_code == 404
    assert maria.post(f"/queue/{theirs.message.pk}/eml/").status_code == 404
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    assert not AuditEntry.objects.filter(account=theirs.account, action__startswith="queue.").exists()


def test_the_file_is_the_message_byte_for_byte_and_its_taker_is_known(world: World, maria: Client) -> None:
    data = b'Subject: \xff../../x"\r\n\r\n<script>alert(1)</script>' + SECRET
    MessageContent.objects.filter(message=world.message).update(data=data)
    address = f"/queue/{world.message.pk}/eml/"
    assert maria.get(address).status_code == 405
    response = maria.post(address)
    assert response.content == data
    headers = response.headers
    assert headers["Content-Disposition"] == f'attachment; filename="message-{world.message.pk}.eml"'
    assert headers["Content-Type"] == "message/rfc822"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    entry = AuditEntry.objects.get(action="message.downloaded")
    assert (entry.subject, entry.actor_name) == (f"message:{world.message.pk}", "Administrator-Ours")
    assert "Downloaded" in maria.get(f"/queue/{world.message.pk}/").content.decode()


def test_a_deleted_content_is_said_and_cannot_be_had(world: World, maria: Client) -> None:
    MessageContent.objects.filter(message=world.message).delete()
    world.message.content_deleted_at = NOW
    world.message.save()
    page = maria.get(f"/queue/{world.message.pk}/").content.decode()
    assert "The content was deleted after its time" in page
    assert "Download" not in page
    assert maria.post(f"/queue/{world.message.pk}/eml/").status_code == 404
    assert not AuditEntry.objects.filter(action="message.downloaded").exists()


def test_quarantine_is_shown_with_the_error_and_released(world: World, maria: Client) -> None:
    row = world.message.recipients.get()
    Recipient.objects.filter(pk=row.pk).update(
        state="quarantined", faults=3, last_reply="UnicodeDecodeError in the courier"
    )
    page = maria.get("/queue/?state=quarantined").content.decode()
    assert "1 message is in quarantine" in words(page)
    assert "UnicodeDecodeError in the courier" in page
    assert "Release: 1 message." in answer(maria, "action=release&all=1&state=quarantined")
    row.refresh_from_db()
    assert (row.state, row.faults, row.next_attempt_at) == ("queued", 0, NOW)


def test_pages_lead_back_as_they_lead_on() -> None:
    world = make_world("ours", rows=1)
    maria = signed_in(world, Membership.Role.ADMINISTRATOR)
    row = world.message.recipients.get()
    Recipient.objects.bulk_create(
        Recipient(
            message=world.message, next_hop_id=row.next_hop_id, address=f"n{n}@ours.example",
            accepted_at=NOW, next_attempt_at=NOW, expires_at=NOW,
        )
        for n in range(119)
    )  # fmt: skip

    def rows(page: str) -> list[str]:
        return re.findall(r'<tr id="r(\d+)"', page)

    def link(page: str, name: str) -> str:
        found: str = re.findall(rf'href="([^"]*)">{name}<', page)[0]
        return "/queue/" + found.replace("&amp;", "&")

    pages = [maria.get("/queue/?state=queued").content.decode()]
    for _ in range(2):
        pages.append(maria.get(link(pages[-1], "Older")).content.decode())
    assert [len(rows(page)) for page in pages] == [50, 50, 20]
    assert ">Older<" not in pages[2]
    back = maria.get(link(pages[2], "Newer")).content.decode()
    assert rows(back) == rows(pages[1])
    assert rows(maria.get(link(back, "Newer")).content.decode()) == rows(pages[0])


def test_a_look_that_ends_early_says_so_and_goes_on(
    world: World, maria: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "TRIED", (1, 1))
    page = maria.get("/queue/?subject=subject+2").content.decode()
    assert "There is more to look through." in page
    assert "looked through those down to" in words(page)
    further = re.findall(r'href="([^"]*)">Look further<', page)[0].replace("&amp;", "&")
    assert "user2@ours.example" in maria.get(f"/queue/{further}").content.decode()


def test_the_route_s_state_is_told_where_mail_waits_for_it(world: World, maria: Client) -> None:
    assert "when the mail server is back" in maria.get(f"/queue/{world.message.pk}/").content.decode()
    NextHop.objects.update(state="up")
    assert "tried again" in maria.get(f"/queue/{world.message.pk}/").content.decode()
