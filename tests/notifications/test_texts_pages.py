"""The pages of the texts: who edits, what the preview shows, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from accounts.models import AuditEntry, Membership
from events import tokens
from events.models import ManageLink
from notifications.kinds import KINDS
from notifications.models import MessageTemplate
from tests.site.pages import NOW, World, make_user, make_world, signed_in

pytestmark = pytest.mark.django_db
PAGE = "/settings/texts/outage/en/"
BODIES = {"subject": "Down: {account}", "text": "Down <b>.\n\nGo: {link}", "sms": "{account} {link}"}


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def world() -> World:
    return make_world("ours", demo=False)


@pytest.fixture
def administrator(world: World) -> Client:
    return signed_in(world, name="maria")


def shown(page: str) -> str:
    """The words of the preview."""
    part = page[page.index('id="preview"') : page.index('aria-labelledby="variables"')]
    return " ".join(re.sub("<[^>]+>", " ", part).split())


def test_a_text_is_previewed_saved_listed_and_taken_back(world: World, administrator: Client) -> None:
    page = administrator.post(PAGE, BODIES | {"preview": "1"}).content.decode()
    assert "Down: Ours" in shown(page)
    assert "Down &lt;b&gt;." in shown(page)
    assert "1 segment: " in shown(page)
    assert not MessageTemplate.objects.exists(), "a preview stores nothing"
    assert "Saved." in administrator.post(PAGE, BODIES | {"request_key": "k"}, follow=True).content.decode()
    assert (
        "Saved." not in administrator.post(PAGE, BODIES | {"request_key": "k"}, follow=True).content.decode()
    )
    listed = administrator.get("/settings/texts/").content.decode()
    assert "Your own: Subject, Text of mails and app notifications, SMS" in listed
    assert listed.count("Your own") == 1
    assert AuditEntry.objects.get(action="text.changed").actor_name == "Maria"
    back = administrator.post(PAGE, {"restore": "1"}, follow=True).content.decode()
    assert "The shipped texts are back." in back
    assert "{monitor} has been failing since {since}" in back
    history = back[back.index("Last changes") :]
    assert history.index("Shipped message texts restored") < history.index("Message texts changed")
    assert "Down &lt;b&gt;." in history
    assert not MessageTemplate.objects.exists()


def test_what_is_wrong_is_said_with_its_name_and_count(administrator: Client) -> None:
    wrong = {"subject": "{password}", "text": "no way in", "sms": "{link}" + "x" * 2000}
    for more in ({}, {"preview": "1"}):
        page = administrator.post(PAGE, wrong | more).content.decode()
        for words in (
            "{password} is not a variable of this message.",
            "The link is missing: put {link} where it is to stand.",
            "It has 2006 characters, which is an SMS of 14 segments; at most 4.",
        ):
            assert words in page, more
    assert not MessageTemplate.objects.exists()


def test_the_preview_counts_what_forces_unicode(administrator: Client) -> None:
    bodies = BODIES | {"sms": "Шторм 🙂 {account} {link} " + "x" * 40, "preview": "1"}
    words = shown(administrator.post(PAGE, bodies).content.decode())
    assert re.search(r"2 segments: \d+ characters, 67 in each", words)
    assert "1 contact with this language gets it by SMS; segments paid for each time: 2." in words
    assert "only 70 fit one segment: Ш т о р м 🙂" in words


def test_every_variable_has_an_example_in_the_language(administrator: Client) -> None:
    page = administrator.get("/settings/texts/outage/de/").content.decode()
    rows = re.findall(
        r"<td><code>\{(\w+)\}</code></td>\s*<td>(.+?)</td>\s*<td[^>]*><samp[^>]*>(.*?)</samp>", page
    )
    assert [name for name, _about, _example in rows] == list(KINDS["outage"].variables)
    assert all(about and example for _name, about, example in rows)
    assert ("again", "Erneut gestört.") in [(name, example) for name, _about, example in rows]


def test_the_mail_is_opened_where_it_can_do_nothing(administrator: Client) -> None:
    response = administrator.post(f"{PAGE}letter/", BODIES)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "Down &lt;b&gt;." in response.content.decode()
    assert administrator.get(f"{PAGE}letter/").status_code == 405


def test_only_administrators_edit_and_only_what_is_there(world: World, administrator: Client) -> None:
    support = Client()
    support.force_login(make_user("sam", world.account, Membership.Role.SUPPORT))
    assert support.post(PAGE, BODIES).status_code == 403
    assert support.post(f"{PAGE}letter/", BODIES).status_code == 403
    assert PAGE not in support.get("/settings/texts/").content.decode()
    for address in ("outage/xx/", "nonsense/en/", "outage/xx/letter/"):
        assert administrator.post(f"/settings/texts/{address}", BODIES).status_code == 404
    assert not MessageTemplate.objects.exists()


def test_texts_of_another_account_are_not_touched(world: World, administrator: Client) -> None:
    theirs = make_world("theirs")
    own = {
        "account": theirs.account,
        "kind": "outage",
        "language": "en",
        "part": "sms",
        "body": "theirs {link}",
    }
    MessageTemplate.objects.create(**own)
    assert "theirs" not in administrator.get(PAGE).content.decode()
    administrator.post(PAGE, BODIES)
    administrator.post(PAGE, {"restore": "1"})
    assert MessageTemplate.objects.get().body == "theirs {link}"


def test_the_portal_is_in_the_contacts_language(world: World) -> None:
    world.contact.language = "de"
    world.contact.save()
    link = ManageLink.objects.create(
        account=world.account, contact=world.contact, created_at=NOW, expires_at=NOW.replace(hour=23)
    )
    page = Client().get(f"/m/{tokens.make(link)}/").content.decode()
    assert '<html lang="de">' in page
    assert "Notbetrieb" in page
    assert "Störung" in page
    for words in ("Continuity mode", "Activate", "Suspend", "outage", "The mail server"):
        assert words not in page, words
