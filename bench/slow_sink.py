"""A mail server that takes everything and waits before each reply: `python -m bench.slow_sink PORT MS`."""

from __future__ import annotations

import asyncio
import sys

import uvloop

ANSWERS = {
    b"EHLO": b"250-slow\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 Go\r\n",
    b"QUIT": b"221 Bye\r\n",
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    writer.write(b"220 slow ESMTP\r\n")
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            await asyncio.sleep(seconds)
            writer.write(ANSWERS.get(verb, b"250 OK\r\n"))
            if verb == b"QUIT":
                break
            if verb == b"DATA":
                await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(seconds)
                writer.write(b"250 Taken\r\n")
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def main(port: int, seconds: float) -> None:
    server = await asyncio.start_server(
        lambda r, w: serve(r, w, seconds), "127.0.0.1", port, limit=1 << 20, backlog=500
    )
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]) / 1000))
