"""What a million queued messages cost: `python -m bench.growth`.

The same work with an empty queue and with `--queued` messages in it, one after the other in each round:
ingest, claim, drain, the figures and the first page of the queue. Then the route is down with all of it
queued, and the courier's share of a core is taken.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time

from bench.support import (
    Database,
    Sink,
    arguments,
    cpu_seconds,
    load,
    postgres_ends,
    smtp_source,
    wait_until,
    workshop,
)

SENDING = "SELECT COUNT(*) FROM delivery_recipient WHERE state = 'sending'"
DELIVERED = "SELECT COUNT(*) FROM delivery_recipient WHERE state = 'delivered'"
DOWN_SECONDS = 20


def ingest(database: Database, messages: int) -> float:
    gateway, port = database.gateway()
    try:
        smtp_source(port, 200, 50)
        return smtp_source(port, messages, 50, keep_open=True)
    finally:
        gateway.stop()


def drain(database: Database, messages: int) -> float:
    """Messages per second of one courier over so many of them, whatever is queued behind."""
    courier = database.courier()
    try:
        before = database.number(DELIVERED)
        wait_until(lambda: database.number(DELIVERED) > before, "the courier sends", 30)
        first, began = database.number(DELIVERED), time.perf_counter()
        while (done := database.number(DELIVERED) - first) < messages:
            time.sleep(0.05)
            if time.perf_counter() - began > 60:
                raise SystemExit("the courier does not drain")
        return done / (time.perf_counter() - began)
    finally:
        courier.stop()


def main() -> None:
    parser = arguments(__doc__ or "", queued=1_000_000, messages=2000)
    parser.add_argument("--databases", nargs="+", default=["sqlite"], choices=["sqlite", "postgres"])
    options = parser.parse_args()
    print(f"Growth: {options.queued} queued against an empty queue, {load()}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        sink = Sink(processes)
        ending.enter_context(postgres_ends(processes))
        for kind in options.databases:
            empty = Database(processes, f"empty_{kind}", kind, port=sink.port)
            full = Database(processes, f"full_{kind}", kind, port=sink.port)
            began = time.perf_counter()
            full.run("-m", "bench.pile", "fill", str(options.queued))
            print(f"{kind}: filled in {time.perf_counter() - began:.0f} s", flush=True)
            found: dict[str, dict[str, list[float]]] = {}
            for _ in range(options.rounds):
                for name, database in (("empty", empty), ("full", full)):
                    figures = {"ingest, msgs/s": ingest(database, options.messages)}
                    figures |= json.loads(database.run("-m", "bench.pile", "ask").splitlines()[-1])
                    if name == "empty":
                        database.run("-m", "bench.fill", str(options.messages * 2))
                    figures["drain, msgs/s"] = drain(database, options.messages)
                    for what, value in figures.items():
                        found.setdefault(what, {}).setdefault(name, []).append(value)
            print(f"{'':34}{'empty':>12}{'full':>12}{'full / empty':>14}")
            for what, values in found.items():
                one, other = statistics.median(values["empty"]), statistics.median(values["full"])
                print(f"{what:34}{one:>12.1f}{other:>12.1f}{other / one:>14.2f}")
            sink.process.stop()
            courier = full.courier()
            time.sleep(10)  # it finds out
            before = cpu_seconds(courier)
            time.sleep(DOWN_SECONDS)
            used = (cpu_seconds(courier) - before) / DOWN_SECONDS
            states = full.execute("SELECT state FROM delivery_nexthop")
            print(
                f"{kind}: route {states[0][0]}, all queued: the courier uses {used:.2%} of a core", flush=True
            )
            courier.stop()
            sink = Sink(processes)


if __name__ == "__main__":
    main()
