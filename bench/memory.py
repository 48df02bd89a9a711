"""Memory whatever clients and messages do: `python -m bench.memory`.

The gateway is sent large messages by many clients at once, beyond its budget; the courier delivers 50 MB
messages. Printed is the highest resident size that each process ever had (VmHWM).
"""

from __future__ import annotations

import contextlib
import smtplib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.support import (
    RECIPIENT,
    SENDER,
    Database,
    Process,
    Sink,
    arguments,
    load,
    postgres_ends,
    wait_until,
    workshop,
)

LIMIT = 300  # MB
LEFT = "SELECT COUNT(*) FROM delivery_recipient WHERE state IN ('queued', 'sending')"


def peak(process: Process) -> int:
    """MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def flood(port: int, clients: int, megabytes: int) -> Counter[int]:
    """So many clients at once, each with one message; the reply codes."""
    data = (b"x" * 998 + b"\r\n") * (megabytes * 1_000_000 // 1000)
    codes: Counter[int] = Counter()

    def one(_number: int) -> None:
        with (
            contextlib.suppress(smtplib.SMTPServerDisconnected),
            smtplib.SMTP("127.0.0.1", port, timeout=120) as c,
        ):
            c.ehlo("bench.example")
            c.mail(SENDER)  # without SIZE, so that nothing is known before it comes
            c.rcpt(RECIPIENT)
            code, _ = c.docmd("DATA")
            if code == 354:
                c.sock.sendall(data + b".\r\n")
                code, _ = c.getreply()
            codes[code] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))
    return codes


def main() -> None:
    options = arguments(__doc__ or "", clients=40, megabytes=10, large=4).parse_args()
    print(f"Memory, {load()}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        sink = Sink(processes)
        ending.enter_context(postgres_ends(processes))
        for kind in ("sqlite", "postgres"):
            database = Database(processes, f"bench_{kind}", kind, port=sink.port)
            gateway, port = database.gateway()
            idle = peak(gateway)
            codes = flood(port, options.clients, options.megabytes)
            sent = flood(port, options.large, 50)
            print(
                f"{kind:9} gateway: {idle} MB at rest, {peak(gateway)} MB after {options.clients} clients "
                f"with {options.megabytes} MB each at once (replies {dict(codes)}) and {options.large} "
                f"with 50 MB ({dict(sent)}); limit {LIMIT} MB"
            )
            courier = database.courier()
            wait_until(lambda database=database: not database.number(LEFT), "all is delivered", 60)
            time.sleep(0.5)
            print(f"{kind:9} courier: {peak(courier)} MB after these; limit {LIMIT} MB", flush=True)
            courier.stop()
            gateway.stop()


if __name__ == "__main__":
    main()
