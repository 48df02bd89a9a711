"""The mail transaction of a session: what MAIL and RCPT said (RFC 5321 3.3)."""

from __future__ import annotations

import asyncio

from delivery.authentic.evaluation import Verdict
from delivery.authentic.spf import Spf
from delivery.gateway.addresses import (
    Mailbox,
    check_envid,
    check_notify,
    check_orcpt,
    check_ret,
    domain_key,
)
from delivery.gateway.commit import Parcel
from delivery.gateway.directory import Destination
from delivery.gateway.headers import header_block, peek
from delivery.gateway.refusal import SYNTAX, TOO_LARGE, Refusal
from delivery.services import NewMessage, NewRecipient

_NEEDS_UTF8 = "553 5.6.7 The address needs SMTPUTF8"
_NO_UTF8 = "553 5.6.7 The mail server of this recipient does not take SMTPUTF8 mail"
LONGEST_RESULTS = 500  # characters; what the database keeps
_UNKNOWN_PARAMETER = "555 5.5.4 Parameter not known"


class Transaction:
    """Begun by MAIL, filled by RCPT, gone with DATA, RSET or EHLO."""

    __slots__ = (
        "account",
        "begun",
        "body_8bit",
        "declared_size",
        "envid",
        "of_ours",
        "outbound",
        "recipients",
        "ret",
        "sender",
        "smallest_offer",
        "smtputf8",
        "spf",
    )

    def __init__(self) -> None:
        self.begun = False
        self.account: int | None = None  # whose mail to other organisations it may be
        self.outbound = False  # there is a recipient in another organisation
        self.sender = ""
        self.smtputf8 = False
        self.body_8bit = False
        self.ret = ""
        self.envid = ""
        self.declared_size = 0
        self.smallest_offer: float = float("inf")
        self.recipients: dict[str, tuple[int, NewRecipient]] = {}
        self.of_ours = False  # the sender is, and the client stands in our networks
        self.spf: asyncio.Task[Spf] | None = None

    @property
    def sender_domain(self) -> str:
        """For comparing; empty for the null sender, or when it is none."""
        try:
            return domain_key(self.sender.rpartition("@")[2])
        except Refusal:
            return ""

    def begin(self, sender: Mailbox | None, parameters: dict[str, str], size_limit: int) -> None:
        """MAIL. Raises Refusal and stays as it was."""
        smtputf8 = body_8bit = False
        ret = envid = ""
        size = 0
        for name, value in parameters.items():
            if name == "SIZE":
                size = _size(value, size_limit)
            elif name == "BODY":
                body_8bit = _is_8bit(value)
            elif name == "SMTPUTF8":
                if value:
                    raise Refusal(f"{SYNTAX} SMTPUTF8 has no value")
                smtputf8 = True
            elif name == "RET":
                ret = check_ret(value)
            elif name == "ENVID":
                envid = check_envid(value)
            else:
                raise Refusal(_UNKNOWN_PARAMETER)
        if sender is not None:
            if not sender.domain:
                raise Refusal("553 5.1.7 The sender's address has no domain")
            if not str(sender).isascii() and not smtputf8:
                raise Refusal(_NEEDS_UTF8)
            self.sender = str(sender)
        self.smtputf8, self.body_8bit = smtputf8, body_8bit
        self.ret, self.envid, self.declared_size = ret, envid, size
        self.begun = True

    def add(self, recipient: Mailbox, parameters: dict[str, str], to: Destination) -> None:
        """RCPT. The same address twice is one recipient. Raises Refusal and stays as it was."""
        notify = orcpt = ""
        for name, value in parameters.items():
            if name == "NOTIFY":
                notify = check_notify(value)
            elif name == "ORCPT":
                orcpt = check_orcpt(value)
                if not orcpt.isascii() and not self.smtputf8:
                    raise Refusal(_NEEDS_UTF8)
            else:
                raise Refusal(_UNKNOWN_PARAMETER)
        self.outbound = self.outbound or to.outbound
        address = str(recipient) if recipient.domain else f"{recipient.local}@{to.domain}"
        if not address.isascii() and not self.smtputf8:
            raise Refusal(_NEEDS_UTF8)
        if self.smtputf8 and not to.smtputf8:
            raise Refusal(_NO_UTF8)
        if to.offered_size:
            if self.declared_size > to.offered_size:
                raise Refusal(TOO_LARGE)
            self.smallest_offer = min(self.smallest_offer, to.offered_size)
        self.recipients.setdefault(
            address, (to.account_id, NewRecipient(address, to.next_hop_id, notify, orcpt, to.sink_id))
        )

    def parcel(
        self, data: bytearray, start: int, *, address: str, helo: str, tls: str, verdict: Verdict
    ) -> Parcel:
        """One message for each account. `start` is where the client's own data begins."""
        look = peek(header_block(data, start))
        by_account: dict[int, list[NewRecipient]] = {}
        for account_id, recipient in self.recipients.values():
            by_account.setdefault(account_id, []).append(recipient)
        return tuple(
            NewMessage(
                account_id=account_id,
                sender=self.sender,
                data=data,
                recipients=recipients,
                client_address=address,
                helo=helo,
                tls=tls,
                smtputf8=self.smtputf8,
                body_8bit=self.body_8bit,
                ret=self.ret,
                envid=self.envid,
                authentic=verdict.authentic,
                auth_results="; ".join(verdict.words)[:LONGEST_RESULTS],
                message_id=look.message_id,
                subject=look.subject,
                header_from=look.header_from,
            )
            for account_id, recipients in by_account.items()
        )


def _size(value: str, limit: int) -> int:
    """RFC 1870."""
    if not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise Refusal(f"{SYNTAX} SIZE is a number of bytes")
    if int(value) > limit:
        raise Refusal(TOO_LARGE)
    return int(value)


def _is_8bit(value: str) -> bool:
    """RFC 6152."""
    if value.upper() not in ("7BIT", "8BITMIME"):
        raise Refusal(f"{SYNTAX} BODY is 7BIT or 8BITMIME")
    return value.upper() == "8BITMIME"
