"""The gateway: listens, holds what its sessions share, starts and stops."""

from __future__ import annotations

import asyncio
import logging
import ssl

from django.conf import settings

from delivery.authentic.evaluation import Evaluator
from delivery.gateway.batches import Batcher
from delivery.gateway.commit import Committer, Nudge, Parcel, weigh
from delivery.gateway.connection import SmtpConnection
from delivery.gateway.directory import Directory
from delivery.gateway.limits import Budget, Connections, Limits
from delivery.gateway.outbound import Outbound
from delivery.gateway.session import SmtpSession
from delivery.gateway.submission import Logins
from delivery.gateway.submission_session import SubmissionSession
from delivery.gateway.tls import Certificate
from delivery.gateway.trace import Tracer

log = logging.getLogger(__name__)

STOP_SECONDS = 4.0


class Gateway:
    """Make it inside a running loop; `start`, and `stop` when done."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits or Limits.from_settings()
        self.name: str = settings.GATEWAY_NAME
        self.refuse_bare: bool = settings.BARE_LF == "refuse"
        self.certificate = Certificate()
        self._watch = self.loop.create_task(self.certificate.watch())
        self.tracer = Tracer(self.name, settings.SECRET_KEY)
        self.budget = Budget(self.limits.memory)
        self.connections = Connections(self.limits)
        self.sessions: set[SmtpConnection] = set()
        self.stopping = False
        self.directory = Directory(self.limits.size)
        self.evaluator = Evaluator(settings.TRUSTED_NETWORKS) if settings.AUTHENTICATE else None
        self._nudge = Nudge(settings.DATA_DIR / "courier.sock")
        self.commits: Batcher[Parcel, bool] = Batcher("gateway-commit", Committer(self._nudge), weigh)
        self.outbound = Outbound()
        self.logins = Logins(self.outbound)
        self._servers: list[asyncio.Server] = []

    @property
    def tls(self) -> ssl.SSLContext:
        """What STARTTLS shows now."""
        return self.certificate.context

    async def start(self, address: str, port: int, *, submission: bool = False) -> int:
        """Listen, together with other gateways on the same port; the port is returned. Raises OSError.

        Once for each port: that of the MX, and that of people and programs who sign in.
        """
        host = None if address in ("", "::") else address  # asyncio's "::" would leave IPv4 out
        session = SubmissionSession if submission else SmtpSession
        server = await self.loop.create_server(
            lambda: session(self), host, port, reuse_port=True, backlog=1024
        )
        self._servers.append(server)
        actual: int = server.sockets[0].getsockname()[1]
        return actual

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Take no more, let commits end and their answers go out, close; not longer than `seconds`."""
        self.stopping = True
        self._watch.cancel()
        for server in self._servers:
            server.close()
        for session in list(self.sessions):
            session.shut_down()
        try:
            async with asyncio.timeout(seconds):
                await self.commits.close()
                await self.directory.close()
                await self.outbound.close()
                while self.sessions:  # noqa: ASYNC110  (they are few, and it is seconds at most)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning("stopped with %d sessions open", len(self.sessions))
            for session in list(self.sessions):
                session.abort()
        self._nudge.close()
        self.logins.close()
        if self.evaluator:
            self.evaluator.close()
