"""The dialogue on the submission port (RFC 6409): TLS, then sign in, then mail of the account's domains."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from delivery.gateway.addresses import Mailbox, domain_key
from delivery.gateway.outbound import NOT_YOURS, Login
from delivery.gateway.refusal import SYNTAX, Refusal
from delivery.gateway.session import SmtpSession
from delivery.gateway.submission import WRONG, decoded, plain, prompt

if TYPE_CHECKING:
    from delivery.gateway.server import Gateway

log = logging.getLogger(__name__)

MOST_TRIES = 3  # wrong passwords in one connection


class SubmissionSession(SmtpSession):
    """One connection of somebody who sends by us."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._login: Login | None = None
        self._tries_left = MOST_TRIES

    def _offers(self, size: int) -> list[str]:
        offers = super()._offers(self._gateway.limits.size)
        return [*offers, "AUTH PLAIN LOGIN"] if self.tls and not self._login else offers

    async def _sender_account(self, sender: Mailbox | None) -> int | None:
        """The account that sends. Raises Refusal for who may not."""
        if not self.tls:
            raise Refusal("530 5.7.0 Say STARTTLS first")
        if self._login is None:
            raise Refusal("530 5.7.0 Sign in first")
        outbound = self._gateway.outbound
        login = await outbound.login(self._login.username)
        if login is None or login.account_id != self._login.account_id:
            self._login, self.signed_in = None, ""
            raise Refusal("530 5.7.0 You may not send any more, sign in again")
        if sender and await outbound.owner_of(domain_key(sender.domain)) != login.account_id:
            raise Refusal(NOT_YOURS)
        return login.account_id

    async def _sign_in(self, argument: str) -> None:
        if not self.tls:
            raise Refusal("538 5.7.11 Say STARTTLS first: passwords do not travel in plain text")
        if not self.esmtp or self._login or self.mail.begun:
            raise Refusal("503 5.5.1 Not now")
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            username, password = plain(initial or await self._asked("334 "))
        elif mechanism.upper() == "LOGIN":
            username = decoded(initial or await self._asked(prompt("Username:")))
            password = decoded(await self._asked(prompt("Password:")))
        else:
            raise Refusal("504 5.5.4 PLAIN and LOGIN are offered")
        try:
            self._login = await self._gateway.logins.check(self.address, username, password)
        except Refusal as refusal:
            log.warning("sign-in of %r from %s refused: %s", username[:150], self.address, refusal.reply)
            self._tries_left -= 1
            if refusal.reply != WRONG or not self._tries_left:
                self._quitting = True
            raise
        self.signed_in = self._login.username
        self._say("235 2.7.0 Signed in")

    async def _asked(self, challenge: str) -> str:
        """The client's next line. Raises Refusal, or ConnectionError when it hung up."""
        self._say(challenge)
        self._at_work = False
        line = await self._read_line()
        self._at_work = True
        if line is None:
            raise ConnectionResetError("while signing in")
        try:
            return line.decode("ascii").strip() or "="
        except UnicodeDecodeError:
            raise Refusal(f"{SYNTAX} Not understood") from None
