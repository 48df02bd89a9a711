"""What a person gets: the notice's text as it was written, and who sent it."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from accounts.people.tokens import own_page
from notifications.bulk.models import Notice
from notifications.bulk.progress import Claimed
from notifications.transports import Rendered

LINK = "{link}"
"""In a notice: each person's own page, where they check their alternate address and phone."""


def render(notice: Notice, account_name: str, channel: str, copy: Claimed | None = None) -> Rendered:
    """One copy by one channel; without one a preview, in which links lead nowhere.

    Its id stays the same when it is tried again: mailboxes know it by that.
    """
    text, subject = notice.sms_text.strip(), ""
    if channel == "email":
        sent_by = _("This notice was sent by %(account)s.") % {"account": account_name}
        text, subject = f"{notice.text.strip()}\n\n-- \n{sent_by}\n", " ".join(notice.subject.split())
    text = text.replace("\r\n", "\n")
    if LINK in text:
        text = text.replace(LINK, own_page(copy.person) if copy and copy.person else f"{settings.BASE_URL}/…")
    to, number = (copy.address, copy.id) if copy else ("", 0)
    return Rendered(notice.account_id, f"notice.{number}", to, channel, subject, text)
