"""What became of a transaction, or of the attempt to begin one."""

from __future__ import annotations

from dataclasses import dataclass, field

from delivery.courier.words import real_code, tidy
from delivery.rules import Outcome, Verdict, is_about_the_recipient


class HostFailed(Exception):  # noqa: N818  (a result, as the rules name it)
    """The host, not a message, is in trouble. `code` is None where it did not answer."""

    def __init__(self, stage: str, code: int | None, reply: str) -> None:
        super().__init__(reply)
        self.stage, self.code, self.reply = stage, real_code(code), tidy(reply)


@dataclass
class Sent:
    """What a transaction came to, by recipient."""

    outcomes: list[Outcome] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    all_sent: bool = False
    unnamed: bool = False  # the server did not want to be told of the client; no recipient was tried
    dsn: bool = False  # the server was asked to tell the sender, where the sender wants that
    lost_count: bool = False  # commands that went in one group were not answered one by one

    @property
    def host_failed(self) -> bool:
        return any(outcome.verdict == Verdict.HOST_FAILURE for outcome in self.outcomes)

    @property
    def throttled(self) -> bool:
        """The host put off a recipient for no reason of the recipient's: it wants less of us."""
        return any(
            outcome.verdict == Verdict.DEFERRED
            and outcome.stage in ("rcpt", "end")
            and not is_about_the_recipient(outcome.reply)
            for outcome in self.outcomes
        )

    @property
    def began(self) -> bool:
        """The host heard of the message, so that the message may be why it failed."""
        return any(outcome.stage in ("mail", "rcpt", "data", "end") for outcome in self.outcomes)

    @property
    def answered(self) -> bool:
        """The host said why it failed, and will say so again."""
        return any(outcome.code not in (None, 421) for outcome in self.outcomes)

    @property
    def uncertain(self) -> bool:
        """The server had it all and did not answer: another host could make a second copy."""
        return self.all_sent and any(outcome.code is None for outcome in self.outcomes)
