"""manage.py gateway: take mail by SMTP until SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from delivery.gateway.loglines import lines_together
from delivery.gateway.server import Gateway

log = logging.getLogger(__name__)


class Command(BaseCommand):
    # Ours only: Django's own would import every page and its libraries.
    requires_system_checks = ("continuity",)
    help = "Take mail by SMTP on BIND_ADDRESS and SMTP_PORT. Several may share the port."

    def handle(self, *args: Any, **options: Any) -> None:
        # Nothing of this is in our lines, and it takes time for each of them.
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's; ours says what matters
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve())
        except OSError as error:
            raise CommandError(f"The gateway cannot start: {error}") from error


async def _serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with lines_together():
        await _serve_until(stop)


async def _serve_until(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    gateway = Gateway()
    loop.add_signal_handler(signal.SIGHUP, gateway.certificate.refresh)
    port = await gateway.start(settings.BIND_ADDRESS, settings.SMTP_PORT)
    log.info("gateway ready on %s port %d", settings.BIND_ADDRESS or "all addresses", port)
    if settings.SUBMISSION_PORT:
        port = await gateway.start(settings.BIND_ADDRESS, settings.SUBMISSION_PORT, submission=True)
        log.info("submission ready on port %d", port)
    gc.freeze()  # what is here by now stays: it need not be looked through for garbage
    await stop.wait()
    log.info("gateway stopping")
    await gateway.stop()
    log.info("gateway stopped")
