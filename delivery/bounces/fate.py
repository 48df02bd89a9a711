"""What became of one recipient, as a report tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Fate:
    """`words` are the remote server's own, or ours where it said nothing; `remote` is its name or empty.

    `status` is an RFC 3463 code. `expired` says that time ran out, `by_hand` that somebody gave it up before;
    else the recipient was refused.
    `retry_until` is for warnings only.
    """

    address: str
    status: str
    words: str = ""
    remote: str = ""
    orcpt: str = ""
    tried_at: datetime | None = None
    expired: bool = False
    by_hand: bool = False
    retry_until: datetime | None = None
