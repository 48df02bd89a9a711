"""Durable ingest against Postfix: `python -m bench.ingest`.

Postfix takes mail for a destination that is switched off (deferred: what a backup MX does during an
outage) or parks it (hold: its best case). Ours is the real `manage.py gateway`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from bench.postfix import DEFERRED, HOLD, Postfix
from bench.support import (
    Database,
    arguments,
    cpu_seconds,
    interleave,
    load,
    postgres_ends,
    smtp_source,
    table,
    workshop,
)

SETUPS = {
    "20": ("20 sessions, reconnecting", 20, False),
    "100": ("100 sessions, reconnecting", 100, False),
    "open": ("100 sessions, kept open", 100, True),
}


def main() -> None:
    parser = arguments(__doc__ or "", messages=2000, fsync_ms=0)
    parser.add_argument("--setups", nargs="+", default=list(SETUPS), choices=list(SETUPS))
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"])
    options = parser.parse_args()
    print(f"Ingest: {options.messages} messages of 10 KB a run, {load()}")
    if options.fsync_ms:
        print(f"Every fsync takes {options.fsync_ms} ms longer, for all of them.")
    with workshop(options.fsync_ms) as processes, contextlib.ExitStack() as ending:
        postfix = {
            "Postfix deferred": Postfix(processes, "deferred", DEFERRED),
            "Postfix hold": Postfix(processes, "hold", HOLD),
        }
        ending.enter_context(postgres_ends(processes))
        ports = {name: server.port for name, server in postfix.items()}
        leaders = {name: server.process for name, server in postfix.items()}
        databases = {}
        for kind in options.databases:
            name = f"Continuity, {kind}"
            databases[name] = Database(processes, f"bench_{kind}", kind)
            leaders[name], ports[name] = databases[name].gateway()
        used: dict[str, float] = {}

        def run(name: str, sessions: int, keep_open: bool) -> float:
            before = cpu_seconds(leaders[name])
            rate = smtp_source(ports[name], options.messages, sessions, keep_open=keep_open)
            if name in postfix:
                postfix[name].settle()
            used[name] = (cpu_seconds(leaders[name]) - before) / options.messages * 1e6
            return rate

        sent = 0
        for key in options.setups:
            title, sessions, keep_open = SETUPS[key]
            runs: dict[str, Callable[[], float]] = {
                name: partial(run, name, sessions, keep_open) for name in ports
            }
            table(title, interleave(runs, options.rounds), list(postfix))
            print("   CPU, µs a message: " + ", ".join(f"{name} {value:.0f}" for name, value in used.items()))
            sent += options.rounds * options.messages
        for name, database in databases.items():
            stored = database.number("SELECT COUNT(*) FROM delivery_messagecontent")
            assert stored == sent, f"{name}: {sent} messages got a 250, {stored} are stored"


if __name__ == "__main__":
    main()
