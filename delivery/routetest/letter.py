"""The test message."""

from __future__ import annotations

import uuid
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from delivery.routetest.dialogue import Plan


def letter(plan: Plan) -> tuple[bytes, str]:
    """The bytes of a test message for the plan, and its Message-ID. Automatic mail by RFC 3834."""
    identifier = f"<{uuid.uuid4()}@{plan.our_name}>"
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"] = f"Continuity <postmaster@{plan.our_name}>"
    message["To"] = plan.recipient
    message["Subject"] = _("Continuity route test %(number)s") % {"number": plan.number}
    message["Date"] = format_datetime(plan.now)
    message["Message-ID"] = identifier
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        _(
            "This is test %(number)s of the route to %(host)s.\n\n"
            "It was sent by the Continuity gateway %(gateway)s. If you read it where it was meant to\n"
            "arrive, mail flows: confirm it on the page of the test. Nothing else has to be done.\n"
        )
        % {"number": plan.number, "host": plan.host, "gateway": plan.our_name}
    )
    return message.as_bytes(), identifier
