"""What every Postfix of our own needs: it lives in one directory and on ports of 127.0.0.1.

Nothing under /etc is read or changed. Needs root, because Postfix changes to its own user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_QUEUES = "incoming active deferred defer bounce corrupt hold saved trace flush pid private"

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/postfix-maillog
maillog_file_prefixes = {base}
mydestination =
mynetworks =
inet_protocols = ipv4
inet_interfaces = loopback-only
alias_maps =
alias_database =
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
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
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def prepare(base: Path, port: int, main_cf: str, master_cf: str) -> None:
    """Write the configuration, with what is added to the above, and make the empty queue."""
    (base / "main.cf").write_text(MAIN_CF.format(base=base) + main_cf)
    (base / "master.cf").write_text(MASTER_CF.format(port=port).rstrip() + master_cf)
    owner = pwd.getpwnam("postfix").pw_uid
    for name in ("data", "queue"):
        (base / name).mkdir()
    os.chown(base / "data", owner, -1)
    for name in _QUEUES.split():
        (base / "queue" / name).mkdir(mode=0o700)
        os.chown(base / "queue" / name, 0 if name == "pid" else owner, -1)
    (base / "queue" / "pid").chmod(0o755)
    for name, mode in (("public", 0o710), ("maildrop", 0o730)):
        (base / "queue" / name).mkdir()
        shutil.chown(base / "queue" / name, "postfix", "postdrop")
        (base / "queue" / name).chmod(mode)


def master(base: Path) -> list[str]:
    """The command that runs it in the foreground."""
    postconf = shutil.which("postconf", path=PATH) or "postconf"
    command = [postconf, "-d", "-h", "daemon_directory"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return [f"{run.stdout.strip()}/master", "-c", str(base), "-d"]
