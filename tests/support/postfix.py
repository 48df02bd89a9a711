"""A real mail server for tests: Postfix takes the mail, Dovecot shows it over IMAP.

Both run from the Debian packages, with configuration, queue and mailboxes of their own in a temporary
directory and on free ports of 127.0.0.1. Nothing under /etc is read or changed. Needs root, because
Postfix and Dovecot change to their own users.
"""

from __future__ import annotations

import imaplib
import os
import pwd
import re
import shutil
import smtplib
import ssl
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import private_postfix
from tests.support.certificates import server_pem
from tests.support.processes import Process, Processes, free_port, listens, wait_until

MAIL_USER = "nobody"
PASSWORD = "only-for-tests"

MAIN_CF = """
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 5s
transport_retry_time = 2s
service_throttle_time = 2s
myhostname = mail.test
default_transport = error:5.1.2 this test server sends nothing
virtual_mailbox_domains = {domains}
virtual_mailbox_maps = texthash:{base}/mailboxes
virtual_mailbox_base = {base}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
in_flow_delay = 0
smtputf8_enable = yes
transport_maps = texthash:{base}/transports
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_tls_chain_files = {base}/server.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
# Leave messages as they come.
local_header_rewrite_clients =
message_drop_headers =
"""

MASTER_CF = """
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
smtp unix - - n - - smtp
proxywrite unix - - n - 1 proxymap
virtual unix - n n - - virtual
"""

DOVECOT_CONF = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot-maillog
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:~
mail_max_userip_connections = 100
login_trusted_networks = 127.0.0.1/32
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
auth_mechanisms = plain login
service auth {{
  unix_listener {base}/queue/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u
}}
"""


def available() -> bool:
    """Whether Postfix and Dovecot are installed and this process may start them."""
    return os.geteuid() == 0 and bool(
        shutil.which("postconf", path=private_postfix.PATH)
        and shutil.which("dovecot", path=private_postfix.PATH)
    )


@dataclass(frozen=True)
class Delivered:
    """A message as IMAP shows it. `queue_id` is Postfix's: the same one twice is Postfix's own repeat."""

    address: str
    message_id: str
    queue_id: str
    content: bytes


class MailServer:
    """Postfix and Dovecot with one mailbox for each address. Dovecot stays up while Postfix is stopped.

    Who signs in on the submission port with PASSWORD may send to the domains of `leads_to`, each behind
    that port of this machine.
    """

    def __init__(
        self, base: Path, processes: Processes, addresses: Sequence[str], leads_to: Mapping[str, int]
    ) -> None:
        self.base, self.addresses, self.leads_to = base, list(addresses), dict(leads_to)
        self.port, self.submission_port, self.imap_port = free_port(), free_port(), free_port()
        self._processes = processes
        self._postfix: Process | None = None
        self._prepare()
        command = shutil.which("dovecot", path=private_postfix.PATH) or "dovecot"
        self._dovecot = processes.start("dovecot", command, "-F", "-c", str(base / "dovecot.conf"))

    def start(self) -> None:
        """Start Postfix and wait until it takes connections."""
        assert self._postfix is None
        self._postfix = self._processes.start("postfix", *private_postfix.master(self.base))
        wait_until(lambda: listens(self.port), "Postfix listens")
        wait_until(lambda: listens(self.imap_port), "Dovecot listens")
        if self.leads_to:
            wait_until(self._lets_in, "Postfix asks Dovecot who signs in", 30)

    def _lets_in(self) -> bool:
        """Dovecot begins to check passwords only when somebody comes, which takes a busy machine seconds."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with smtplib.SMTP("127.0.0.1", self.submission_port, timeout=10) as client:
                client.starttls(context=context)
                client.login(self.addresses[0], PASSWORD)
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def stop(self) -> None:
        """Stop Postfix as `postfix stop` does: open connections end at once, the queue stays on disk."""
        assert self._postfix is not None
        self._postfix.stop()
        self._postfix = None
        wait_until(lambda: not listens(self.port), "Postfix does not listen")

    def end(self) -> None:
        """End both for good, and say what went wrong. Dovecot takes seconds over an orderly stop: killed."""
        if left := self.queued():
            sys.stdout.write(f"Left in Postfix's queue: {left}\n")
        wrong = re.findall(r"(?m)^.*(?:warning|fatal|panic|status=(?!sent)|timeout).*\n", self.log())
        sys.stdout.writelines(wrong[-40:])
        self._dovecot.kill()
        if self._postfix is not None:
            self.stop()

    def log(self) -> str:
        """What Postfix wrote to its log."""
        return (self.base / "postfix-maillog").read_text(errors="replace")

    def queued(self) -> list[str]:
        """Files of the messages that Postfix took and has not put into a mailbox yet.

        A file that its owner may not execute was cut off while it came in: Postfix marks so what it has
        acknowledged, and leaves the others lying for days.
        """
        queues = [self.base / "queue" / name for name in ("incoming", "active", "deferred")]
        return [file.name for queue in queues for file in _files(queue) if _mode(file) & stat.S_IXUSR]

    def stored(self) -> int:
        """Messages in all mailboxes, counted as files: quick enough to poll."""
        return sum(
            1 for number in range(len(self.addresses)) for _ in _files(self._mailbox(number) / "new")
        ) + sum(1 for number in range(len(self.addresses)) for _ in _files(self._mailbox(number) / "cur"))

    def messages(self) -> list[Delivered]:
        """Everything in every mailbox, read over IMAP."""
        found: list[Delivered] = []
        for number, address in enumerate(self.addresses):
            if not self._mailbox(number).exists():
                continue
            with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=30) as imap:
                imap.login(f"u{number}", PASSWORD)
                imap.select("INBOX", readonly=True)
                _, rows = imap.uid("FETCH", "1:*", "(BODY.PEEK[])")
                found += [_delivered(address, row[1]) for row in rows if isinstance(row, tuple)]
        return found

    def _mailbox(self, number: int) -> Path:
        return self.base / "mail" / f"u{number}"

    def _prepare(self) -> None:
        mail = pwd.getpwnam(MAIL_USER)
        values = {"base": self.base, "uid": mail.pw_uid, "gid": mail.pw_gid, "password": PASSWORD}
        domains = " ".join(sorted({address.rpartition("@")[2] for address in self.addresses}))
        mailboxes = "".join(f"{address} u{number}/\n" for number, address in enumerate(self.addresses))
        (self.base / "mailboxes").write_text(mailboxes)
        transports = "".join(f"{name} smtp:[127.0.0.1]:{port}\n" for name, port in self.leads_to.items())
        (self.base / "transports").write_text(transports)
        (self.base / "server.pem").write_bytes(server_pem())
        (self.base / "dovecot.conf").write_text(DOVECOT_CONF.format(port=self.imap_port, **values))
        for name in ("mail", "run", "state"):
            (self.base / name).mkdir()
        os.chown(self.base / "mail", mail.pw_uid, mail.pw_gid)
        main = MAIN_CF.format(domains=domains, **values)
        master = MASTER_CF.format(submission=self.submission_port)
        private_postfix.prepare(self.base, self.port, main, master)


@contextmanager
def mail_server(addresses: Sequence[str], leads_to: Mapping[str, int] | None = None) -> Iterator[MailServer]:
    """A mail server that is up, with an empty mailbox for each of the addresses."""
    # Not pytest's tmp_path: the servers' own users must get in, and socket paths must be short.
    base = Path(tempfile.mkdtemp(prefix="ct-mail-"))
    base.chmod(0o755)
    try:
        with Processes(base) as processes:
            server = MailServer(base, processes, addresses, leads_to or {})
            try:
                server.start()
                yield server
            finally:
                server.end()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _files(directory: Path) -> Iterator[Path]:
    for found, _, names in os.walk(directory):
        yield from (Path(found, name) for name in names)


def _mode(file: Path) -> int:
    try:
        return file.stat().st_mode
    except FileNotFoundError:  # moved on to another queue
        return stat.S_IXUSR


def _delivered(address: str, content: bytes) -> Delivered:
    message_id = re.search(rb"(?im)^Message-ID:\s*(<[^>]*>)", content)
    queue_id = re.search(rb"by mail\.test \(Postfix\)\s+with \S+\s+id (\w+)", content)
    return Delivered(
        address,
        message_id[1].decode() if message_id else "",
        queue_id[1].decode() if queue_id else "",
        content,
    )
