"""An SMS provider that answers each request after a while: `python -m bench.slow_provider PORT MS`."""

from __future__ import annotations

import asyncio
import re
import sys

import uvloop

LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
BODY = b'{"sid": "SM0", "status": "queued"}'
ANSWER = b"HTTP/1.1 201 CREATED\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if found := LENGTH.search(head):
                await reader.readexactly(int(found[1]))
            await asyncio.sleep(seconds)
            writer.write(ANSWER)
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def main(port: int, seconds: float) -> None:
    server = await asyncio.start_server(lambda r, w: serve(r, w, seconds), "127.0.0.1", port, backlog=500)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]) / 1000))
