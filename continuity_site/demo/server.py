"""`python -m continuity_site.demo.server`: the demo mail server, a process of its own on loopback.

It follows the mode file within half a second. Stopped means stopped: its port refuses connections.
Environment: DATA_DIR (default var/), DEMO_SMTP_PORT (default 2526). Needs no Django, so it stays small.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

from continuity_site.demo.session import Session
from continuity_site.demo.store import Mailbox, Mode, read_mode

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
GRACE_SECONDS = 0.5  # for messages that are being stored when the process is told to stop
MAX_CONNECTIONS = 200

logger = logging.getLogger("continuity_site.demo")


class DemoServer:
    """Listens while its mode is not `stopped`."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory, self._port = directory, port
        self._mailbox = Mailbox(directory)
        self._mode = read_mode(directory)
        self._listener: asyncio.Server | None = None
        self._sessions: dict[Session, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        while not stop.is_set():
            await self._follow_mode()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass
        self._close()
        if self._sessions:
            await asyncio.wait(self._sessions.values(), timeout=GRACE_SECONDS)

    async def _follow_mode(self) -> None:
        mode = await asyncio.to_thread(read_mode, self._directory)
        if mode != self._mode:
            logger.info("demo mail server: %s", mode)
            self._mode = mode
        if mode == Mode.STOPPED:
            self._close()
        elif self._listener is None:
            await self._listen()

    async def _listen(self) -> None:
        try:
            self._listener = await asyncio.start_server(self._serve, HOST, self._port, backlog=200)
        except OSError as error:  # the port is taken for now; the next poll tries again
            logger.warning("demo mail server: cannot listen on %s:%s: %s", HOST, self._port, error.strerror)
        else:
            logger.info("demo mail server: listening on %s:%s", HOST, self._port)

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            logger.info("demo mail server: stopped listening")
        for session in list(self._sessions):
            session.hang_up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:  # accepted in the moment of closing
            writer.transport.abort()
            return
        if len(self._sessions) >= MAX_CONNECTIONS:
            writer.write(b"421 4.7.0 Too many connections\r\n")
            writer.close()
            return
        session = Session(reader, writer, self._mailbox, lambda: self._mode)
        task = self._sessions[session] = asyncio.create_task(session.run())
        try:
            await task
        finally:
            del self._sessions[session]


async def _serve_until_told(directory: Path, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await DemoServer(directory, port).run(stop)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    data_dir = Path(os.environ.get("DATA_DIR") or "var").resolve()
    asyncio.run(_serve_until_told(data_dir / "demo", int(os.environ.get("DEMO_SMTP_PORT") or 2526)))


if __name__ == "__main__":
    main()
