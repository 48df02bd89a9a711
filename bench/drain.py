"""Draining a queue to `smtp-sink` against Postfix: `python -m bench.drain`.

The mail server is up and takes everything; the queue is there before the clock starts. Timed is from the
moment at which all senders are at work to the last message's final state in the queue.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial

from bench.postfix import HOLD, Postfix
from bench.support import (
    Database,
    Sink,
    arguments,
    cpu_seconds,
    interleave,
    load,
    postgres_ends,
    smtp_source,
    table,
    workshop,
)

SENDING = "SELECT COUNT(DISTINCT claimed_by) FROM delivery_recipient WHERE state = 'sending'"
LEFT = "SELECT COUNT(*) FROM delivery_recipient WHERE state IN ('queued', 'sending')"


def drain(database: Database, messages: int, couriers: int, used: dict[str, float]) -> float:
    """Messages per second of so many couriers."""
    database.run("-m", "bench.fill", str(messages))
    started = [database.courier() for _ in range(couriers)]
    try:
        _until(lambda: database.number(SENDING) >= couriers, 30)
        began, left = time.perf_counter(), database.number(LEFT)
        before = cpu_seconds(*started)
        _until(lambda: not database.number(LEFT), 120)
        rate = left / (time.perf_counter() - began)
        used[f"{database.kind} {couriers}"] = (cpu_seconds(*started) - before) / left * 1e6
    finally:
        for courier in started:
            courier.stop()
    return rate


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not drained within {seconds:g} s")
        time.sleep(0.02)


def main() -> None:
    parser = arguments(__doc__ or "", messages=3000, latency_ms=0, concurrency=20)
    parser.add_argument("--only", nargs="+", default=["sqlite-1", "postgres-1", "postgres-2"])
    options = parser.parse_args()
    messages = options.messages
    if options.latency_ms:
        messages = min(messages, options.concurrency * 50)
        print(f"The mail server waits {options.latency_ms} ms before each reply.")
    print(f"Drain: {messages} messages of 10 KB, {options.concurrency} connections a sender, {load()}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        sink = Sink(processes, latency_ms=options.latency_ms)
        ending.enter_context(postgres_ends(processes))
        postfix = Postfix(processes, "postfix", HOLD, sink=sink.port, concurrency=options.concurrency)
        used: dict[str, float] = {}

        def anchor() -> float:
            smtp_source(postfix.port, messages, 50)
            before = cpu_seconds(postfix.process)
            rate = postfix.drain(messages)
            used["Postfix"] = (cpu_seconds(postfix.process) - before) / messages * 1e6
            return rate

        runs: dict[str, Callable[[], float]] = {"Postfix": anchor}
        databases: dict[str, Database] = {}
        for name in options.only:
            kind, _, couriers = name.partition("-")
            if kind not in databases:
                databases[kind] = Database(
                    processes, f"bench_{kind}", kind, port=sink.port, hosts=options.concurrency
                )
            title = f"Continuity, {kind}, {couriers} courier{'s' if couriers != '1' else ''}"
            runs[title] = partial(drain, databases[kind], messages * int(couriers), int(couriers), used)
        table("Drain to smtp-sink", interleave(runs, options.rounds), ["Postfix"])
        print("   CPU, µs a message: " + ", ".join(f"{name} {value:.0f}" for name, value in used.items()))
        for database in databases.values():
            delivered = database.number("SELECT COUNT(*) FROM delivery_recipient WHERE state = 'delivered'")
            attempts = database.number("SELECT COUNT(*) FROM delivery_attempt")
            assert delivered == attempts, f"{delivered} delivered in {attempts} attempts"


if __name__ == "__main__":
    main()
