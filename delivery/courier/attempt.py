"""One message, tried at one host after the other until one takes or refuses it."""

from __future__ import annotations

from delivery.courier.client import Connection
from delivery.courier.hosts import hosts_of
from delivery.courier.mx import Undeliverable
from delivery.courier.sent import HostFailed, Sent
from delivery.courier.shared import Surroundings
from delivery.rules import Outcome, Verdict
from delivery.services.claims import Envelope, Flow, Host


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
        if self.connection:
            failed = await self._transaction(content)
            if not failed.host_failed or failed.uncertain:
                return failed
            # Without an answer the server may just have closed an idle connection: it is asked anew.
            answered = self.host if failed.answered else None
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
                with known.trying(host):
                    self.connection = await self._connected(host)
                failed = await self._transaction(content)
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

    async def _connected(self, host: Host) -> Connection:
        around = self.around
        groups = around.hosts.takes_groups(host)
        return await Connection.open(host, around.local_hostname, around.timeouts, pipelining=groups)

    async def _transaction(self, content: bytes) -> Sent:
        assert self.connection
        sent = await self.connection.send(self.envelope, content)
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
