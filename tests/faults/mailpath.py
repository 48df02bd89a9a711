"""The way of a message and nothing else: gateway and courier as processes, to be ill-treated."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable

from delivery.models import Message, NextHop, Recipient
from delivery.reads import reconcile_account
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, World
from tests.support.gateway import Client
from tests.support.mailserver import MailServer
from tests.support.processes import Process, Processes, free_port, listens, wait_until


class MailPath:
    """`manage.py gateway` and `manage.py courier` on one database and data directory."""

    def __init__(self, processes: Processes, database_url: str, **environment: str) -> None:
        self.smtp_port = free_port()
        self.running: dict[str, Process] = {}
        self._processes = processes
        self._environment = environment | {"DATABASE_URL": database_url, "SMTP_PORT": str(self.smtp_port)}
        self._starts = 0

    def start(self, *names: str) -> None:
        """Start these, or both; returns when the gateway listens."""
        for name in names or ("gateway", "courier"):
            self._starts += 1
            log = f"{name}{self._starts}"
            self.running[name] = self._processes.manage(log, name, **self._environment)
        wait_until(lambda: listens(self.smtp_port), "the gateway listens", 30)

    def kill(self, names: Iterable[str]) -> None:
        """SIGKILL, to all at the same moment; returns when they are gone."""
        for name in names:
            os.kill(self.running[name].pid, signal.SIGKILL)
        for name in names:
            self.running[name].kill()

    def alive(self) -> bool:
        return all(process.alive for process in self.running.values())


def in_flight() -> Counter[str]:
    """What a courier holds, by Message-ID: of each of these one more copy may arrive when it is killed now.

    A message that was stored twice, as its client had no answer, may be held twice.
    """
    sending = Recipient.objects.filter(state=Recipient.State.SENDING)
    return Counter(sending.values_list("message__message_id", flat=True))


def goes_on(senders: PatientSenders, server: MailServer, seconds: float = 30) -> None:
    """Mail is accepted from now on, and delivered."""
    accepted = len(senders.accepted)
    wait_until(lambda: len(senders.accepted) > accepted + 5, "mail is accepted", seconds)
    newest = senders.accepted[-1].message_id
    wait_until(lambda: server.count_by_message_id()[newest], "it is delivered", seconds)


def flows(senders: PatientSenders, server: MailServer, more: int, seconds: float = 60) -> None:
    """So many more messages are accepted, and so many delivered."""
    accepted, arrived = len(senders.accepted) + more, len(server.messages) + more
    wait_until(lambda: len(senders.accepted) >= accepted, "mail is accepted", seconds)
    wait_until(lambda: len(server.messages) >= arrived, "mail is delivered", seconds)


def puts_off(client: Client) -> None:
    """A message is not taken, and its client asked to come back."""
    client.ask("RSET")
    client.ask("MAIL FROM:<b@else.example>")
    # Known from before for some seconds; then nobody can say whether the address is ours.
    answer = client.ask(f"RCPT TO:<{ADDRESSES[0]}>")
    if answer.startswith("250"):
        assert client.ask("DATA").startswith("354")
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        answer = client.reply()
    assert answer.startswith("451 4.3.0")
    client.ask("RSET")


def drains(seconds: float = 90) -> None:
    """The queue is emptied, however long it became: for so long nothing may get through, and no longer.

    More than a minute, which is what a message waits at which our own code or the whole server failed.
    """
    waiting = Recipient.objects.waiting()
    while left := waiting.count():
        try:
            wait_until(lambda: waiting.count() < left, "the queue drains", seconds)
        except AssertionError as error:
            rows = waiting.values("state", "attempts", "faults", "next_attempt_at", "last_reply")
            hops = NextHop.objects.values("state", "failures", "not_before", "last_reply")
            raise AssertionError(f"{error}: {left} left, such as {list(rows[:3])}, {list(hops)}") from None


def the_books_balance(
    senders: PatientSenders, server: MailServer, world: World, doubtful: Counter[str] | None = None
) -> None:
    """What got a 250 has arrived, byte for byte the same copies; none twice without a reason.

    `doubtful` counts for each Message-ID how often it was in flight when its courier was killed.
    """
    doubtful = doubtful or Counter()
    arrived = server.count_by_message_id()
    lost = [letter.message_id for letter in senders.accepted if not arrived[letter.message_id]]
    assert not lost, f"{len(lost)} accepted messages are lost: {lost[:5]}"
    balance = reconcile_account(world.account.pk)
    assert balance.balanced
    assert balance.accepted == balance.delivered == Recipient.objects.count()
    # Stored twice: only what its client had to send twice, for want of an answer.
    stored = Counter(Message.objects.values_list("message_id", flat=True))
    odd = {name: (arrived[name], stored[name]) for name in set(arrived) ^ set(stored)}
    assert not odd, f"neither lost nor sent by anybody (arrived, stored): {odd}"
    assert all(count <= senders.tries[message_id] for message_id, count in stored.items())
    # Sent twice: only what was in flight at a kill, once more for each.
    repeats = arrived - stored
    excess = {name: (arrived[name], stored[name], doubtful[name]) for name in repeats - doubtful}
    assert not excess, f"copies without a reason (arrived, stored, in flight at kills): {excess}"
