"""Reaching a host: TCP to one of its addresses, and the banner."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import aiosmtplib

from delivery.routetest.steps import HOST_SECONDS, STEP_SECONDS

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def connect(addresses: Sequence[Address], deadline: float) -> tuple[socket.socket, str, list[str]]:
    """The first address that answers, and those that did not. `deadline` by the loop's clock.

    Raises the OSError of the last address.
    """
    trouble: OSError = OSError("no address")
    failed: list[str] = []
    loop = asyncio.get_running_loop()
    for number, (family, address) in enumerate(addresses):
        share = max(0.1, min(STEP_SECONDS, deadline - loop.time())) / (len(addresses) - number)
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setblocking(False)
        try:
            async with asyncio.timeout(share * 0.9):  # ours rings before the step's
                await loop.sock_connect(one, address)
        except OSError as error:
            one.close()
            failed.append(str(address[0]))
            trouble = error
        except BaseException:
            one.close()
            raise
        else:
            return one, str(address[0]), failed
    raise trouble


async def greeted(connected: socket.socket, our_name: str) -> tuple[aiosmtplib.SMTP, aiosmtplib.SMTPResponse]:
    """A client on the socket, and the server's banner. Raises what aiosmtplib raises."""
    smtp = aiosmtplib.SMTP(
        sock=connected,
        local_hostname=our_name,
        timeout=HOST_SECONDS + 5,  # the limits that ring are those of the steps
        start_tls=False,
    )
    try:
        return smtp, await smtp.connect()
    except BaseException:
        smtp.close()
        raise
