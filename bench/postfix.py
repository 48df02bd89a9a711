"""Private Postfix instances: what we are measured against. Needs root, as Postfix does."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

from bench.support import Process, Processes, free_port, listens, wait_until

QUEUES = "incoming active deferred defer bounce corrupt hold saved trace flush pid private"
MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/postfix-maillog
maillog_file_prefixes = {base}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_PRELOAD
myhostname = postfix.test
mydestination =
mynetworks =
inet_protocols = ipv4
inet_interfaces = loopback-only
alias_maps =
alias_database =
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
relay_domains = bench.test
relay_recipient_maps = texthash:{base}/recipients
relay_transport = relay:[127.0.0.1]:{sink}
relay_destination_concurrency_limit = {concurrency}
relay_initial_destination_concurrency = {concurrency}
smtpd_relay_restrictions = reject_unauth_destination
default_process_limit = 120
queue_run_delay = 3600s
minimal_backoff_time = 3600s
maximal_backoff_time = 7200s
message_size_limit = 52428800
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
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
        daemons = subprocess.run(
            ["postconf", "-d", "-h", "daemon_directory"], capture_output=True, text=True, check=True
        ).stdout.strip()
        self.process: Process = processes.start(name, f"{daemons}/master", "-c", str(self.base), "-d")
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
        base, owner = self.base, pwd.getpwnam("postfix").pw_uid
        for name in ("", "data", "queue"):
            (base / name).mkdir()
        (base / "recipients").write_text(
            "anna@bench.test ok\n" + "".join(f"person{n}@bench.test ok\n" for n in range(1000))
        )
        (base / "main.cf").write_text(MAIN_CF.format(base=base, sink=sink, concurrency=concurrency) + more)
        (base / "master.cf").write_text(MASTER_CF.format(port=self.port))
        os.chown(base / "data", owner, -1)
        for name in QUEUES.split():
            (base / "queue" / name).mkdir(mode=0o700)
            os.chown(base / "queue" / name, 0 if name == "pid" else owner, -1)
        (base / "queue" / "pid").chmod(0o755)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            (base / "queue" / name).mkdir()
            shutil.chown(base / "queue" / name, "postfix", "postdrop")
            (base / "queue" / name).chmod(mode)
