"""`manage.py courier`: SMTP out."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand

from delivery.courier.process import Courier


class Command(BaseCommand):
    help = "Delivers queued mail to the mail servers. Any number may run at the same time."

    def handle(self, *args: Any, **options: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run())


async def _run() -> None:
    courier = Courier(settings.DATA_DIR, settings.GATEWAY_NAME)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, courier.stop)
    await courier.run()
