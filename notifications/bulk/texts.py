"""What a person gets: the notice's text as it was written, and who sent it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from notifications.bulk.models import Notice
from notifications.transports import Rendered


def render(notice: Notice, account_name: str, channel: str, to: str = "", copy_id: int = 0) -> Rendered:
    """One copy by one channel. Its id stays the same when it is tried again: mailboxes know it by that."""
    text, subject = notice.sms_text.strip(), ""
    if channel == "email":
        sent_by = _("This notice was sent by %(account)s.") % {"account": account_name}
        text, subject = f"{notice.text.strip()}\n\n-- \n{sent_by}\n", " ".join(notice.subject.split())
    text = text.replace("\r\n", "\n")
    return Rendered(notice.account_id, f"notice.{copy_id}", to, channel, subject, text)
