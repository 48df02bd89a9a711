"""Private Postfix instances: what we are measured against. Needs root, as Postfix does."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from bench.support import Process, Processes, free_port, listens, wait_until
from tests.support import private_postfix

MAIN_CF = """
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_PRELOAD
myhostname = postfix.test
smtpd_client_connection_count_limit = 0
relay_domains = bench.test
relay_recipient_maps = texthash:{base}/recipients
relay_transport = relay:[127.0.0.1]:{sink}
relay_destination_concurrency_limit = {concurrency}
relay_initial_destination_concurrency = {concurrency}
default_process_limit = 120
queue_run_delay = 3600s
minimal_backoff_time = 3600s
maximal_backoff_time = 7200s
"""
MASTER_CF = """
smtp unix - - n - - smtp
relay unix - - n - - smtp
scache unix - - n - 1 scache
"""
DEFERRED = "defer_transports = relay\n"
# Its best case: messages are parked, the queue manager never looks at them.
HOLD = "in_flow_delay = 0\nsmtpd_client_restrictions = static:HOLD\n"


class Postfix:
    """An instance with `more` settings; `sink` is the port it relays to."""

    def __init__(
        self, processes: Processes, name: str, more: str, *, sink: int = 9, concurrency: int = 20
    ) -> None:
        self.base = processes.directory / name
        self.port = free_port()
        self._prepare(more, sink, concurrency)
        self.process: Process = processes.start(name, *private_postfix.master(self.base))
        wait_until(lambda: listens(self.port), "Postfix listens")

    def queued(self, *names: str) -> int:
        """Messages in these queues."""
        found = 0
        for name in names:
            for _, _, files in os.walk(self.base / "queue" / name):
                found += len(files)
        return found

    def settle(self) -> None:
        """Wait until what came in has its place, so that the next run is not disturbed."""
        wait_until(lambda: self.queued("incoming", "active") == 0, "Postfix is at rest", 60)

    def drain(self, messages: int) -> float:
        """Send all that is on hold; messages per second until the last has left."""
        for directory, _, files in os.walk(self.base / "queue" / "hold"):
            for name in files:
                # What `postsuper -H` does, without its pass over all queues in the time measured.
                path = Path(directory) / name
                path.rename(self.base / "queue" / "incoming" / name)
                (self.base / "queue" / "incoming" / name).chmod(0o700)
        began = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as trigger:
            trigger.connect(str(self.base / "queue" / "public" / "qmgr"))
            trigger.sendall(b"I")  # scan incoming
        wait_until(lambda: self.queued("incoming", "active") == 0, "Postfix has drained", 120)
        return messages / (time.perf_counter() - began)

    def _prepare(self, more: str, sink: int, concurrency: int) -> None:
        self.base.mkdir()
        (self.base / "recipients").write_text(
            "anna@bench.test ok\n" + "".join(f"person{n}@bench.test ok\n" for n in range(1000))
        )
        main_cf = MAIN_CF.format(base=self.base, sink=sink, concurrency=concurrency) + more
        private_postfix.prepare(self.base, self.port, main_cf, MASTER_CF)
