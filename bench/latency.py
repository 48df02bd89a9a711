"""A healthy day: how long from acceptance to delivery at a steady rate: `python -m bench.latency`.

Gateway and courier are the real processes; the time is that between the two rows in the database, from
`accepted_at` to the attempt's commit, with which the queue page would show it.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from datetime import UTC, datetime

import aiosmtplib

from bench.support import RECIPIENT, SENDER, SIZE, Database, Sink, arguments, load, postgres_ends, workshop

TIMES = "SELECT r.accepted_at, r.final_at FROM delivery_recipient r WHERE r.state = 'delivered' ORDER BY r.id"


async def send(port: int, rate: int, seconds: int, connections: int = 20) -> list[float]:
    """At a steady rate over kept connections; how long each message took until our 250, in ms."""
    data = b"Subject: bench\r\n\r\n" + (b"x" * 78 + b"\r\n") * (SIZE // 80)
    idle: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()
    for _ in range(connections):
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        await client.connect()
        idle.put_nowait(client)
    took: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        client = await idle.get()
        await client.sendmail(SENDER, [RECIPIENT], data)
        idle.put_nowait(client)
        took.append((time.perf_counter() - began) * 1000)

    began, tasks = time.perf_counter(), []
    for number in range(rate * seconds):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return took


def main() -> None:
    options = arguments(__doc__ or "", rate=100, seconds=10).parse_args()
    print(f"Latency at {options.rate} messages of 10 KB a second, {load()}")
    print(f"{'milliseconds':22}{'to our 250':>20}{'accepted to delivered':>26}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        sink = Sink(processes)
        ending.enter_context(postgres_ends(processes))
        ready = {}
        for kind in ("sqlite", "postgres"):
            database = Database(processes, f"bench_{kind}", kind, port=sink.port)
            _, port = database.gateway()
            database.courier()
            ready[kind] = (database, port)
        time.sleep(3)  # couriers start
        for number in range(options.rounds):
            for kind, (database, port) in ready.items():
                took = asyncio.run(send(port, options.rate, options.seconds))
                time.sleep(2)
                rows = database.execute(TIMES)[number * options.rate * options.seconds :]
                spans = [(_instant(end) - _instant(start)).total_seconds() * 1000 for start, end in rows]
                lost = len(took) - len(spans)
                print(
                    f"{kind:22}{_words(took):>20}{_words(spans):>26}" + (f"  {lost} not yet" if lost else "")
                )


def _instant(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def _words(times: list[float]) -> str:
    ordered = sorted(times)
    return f"{statistics.median(ordered):.0f}, p99 {ordered[int(len(ordered) * 0.99)]:.0f}"


if __name__ == "__main__":
    main()
