"""One message, tried at one host after the other until one takes or refuses it."""

from __future__ import annotations

import logging

from delivery.courier.client import Connection
from delivery.courier.hosts import UNNAMED_SECONDS, hosts_of
from delivery.courier.mx import Undeliverable
from delivery.courier.sent import HostFailed, Sent
from delivery.courier.shared import Surroundings
from delivery.rules import Outcome, Verdict
from delivery.services.claims import Envelope, Flow, Host

logger = logging.getLogger(__name__)


class Attempt:
    """One message, tried over the open connection and then at each host in turn."""

    def __init__(
        self, flow: Flow, around: Surroundings, envelope: Envelope, connection: Connection | None
    ) -> None:
        self.flow, self.around = flow, around
        self.envelope, self.connection = envelope, connection
        self.host: Host | None = connection.host if connection else None

    async def run(self, content: bytes) -> Sent:
        failed: Sent | None = None
        answered: Host | None = None
        if self.connection and not self.connection.suits(self.envelope):
            await self.connection.close()
            self.connection = None
        if self.connection:
            failed = await self._transaction(content)
            if not failed.host_failed or failed.uncertain:
                return failed
            # Without an answer the server may just have closed an idle connection: it is asked anew.
            answered = self.host if failed.answered and not failed.unnamed else None
            self.abort()
        known = self.around.hosts
        try:
            hosts = known.in_order(await hosts_of(self.flow))
        except HostFailed as error:
            return failed or self._nobody(error)
        except Undeliverable as error:
            return self._refused(error)
        for host in hosts:
            if host == answered:
                continue
            self.host = host
            try:
                failed = await self._at(host, content)
            except HostFailed as error:
                failed = self._nobody(error)
            if not failed.host_failed:
                known.works(host)
                return failed
            known.failed(host)
            self.abort()
            if failed.uncertain:
                return failed
        return failed or self._nobody(HostFailed("connect", None, "The route has no host."))

    async def _at(self, host: Host, content: bytes) -> Sent:
        """At one host. Raises HostFailed."""
        await self._connect(host)
        sent = await self._transaction(content)
        if sent.unnamed:
            self.abort()
            await self._connect(host)
            sent = await self._transaction(content, naming=False)
        return sent

    async def _connect(self, host: Host) -> None:
        around = self.around
        known = around.hosts
        groups = known.takes_groups(host)
        with known.trying(host):
            self.connection = await Connection.open(
                host, around.local_hostname, around.timeouts, pipelining=groups
            )

    def _note_refusal(self, sent: Sent) -> None:
        """Of XCLIENT: whether it is for everybody (550, unknown, no answer), or for this client alone."""
        assert self.connection
        code = sent.outcomes[0].code
        # Without an answer an older connection may just have been closed, as with any command.
        for_all = code in (500, 502, 550) or (code is None and self.connection.used == 1)
        if for_all:
            self.around.hosts.refused_names(self.connection.host)
        logger.log(
            logging.WARNING if for_all else logging.INFO,
            "%s does not take XCLIENT (%s): mail goes there without it for %s",
            self.connection.host,
            sent.outcomes[0].words,
            f"{UNNAMED_SECONDS / 60:.0f} minutes" if for_all else "this client",
        )

    async def _transaction(self, content: bytes, *, naming: bool = True) -> Sent:
        assert self.connection
        naming = naming and self.around.hosts.takes_names(self.connection.host)
        sent = await self.connection.send(self.envelope, content, naming=naming)
        if sent.unnamed:
            self._note_refusal(sent)
        if sent.lost_count:
            self.around.hosts.lost_count(self.connection.host)
        return sent

    def _nobody(self, error: HostFailed) -> Sent:
        """No recipient was tried."""
        return _for_all(self.envelope, Verdict.HOST_FAILURE, error.stage, error.code, error.reply)

    def _refused(self, error: Undeliverable) -> Sent:
        """By DNS: there is nobody to ask."""
        self.host = None
        return _for_all(self.envelope, Verdict.REFUSED, "dns", error.code, error.reply)

    def abort(self) -> None:
        if self.connection:
            self.connection.abort()
            self.connection = None


def fault(envelope: Envelope, error: Exception) -> Sent:
    """Our own code failed on it. Only the kind of error is kept: its text could quote the message."""
    return _for_all(envelope, Verdict.FAULT, "", None, f"Fault of the courier: {type(error).__name__}")


def _for_all(envelope: Envelope, verdict: Verdict, stage: str, code: int | None, reply: str) -> Sent:
    """The same outcome for every recipient."""
    return Sent(
        [
            Outcome(recipient.pk, recipient.address, verdict, stage, code, reply)
            for recipient in envelope.recipients
        ]
    )
