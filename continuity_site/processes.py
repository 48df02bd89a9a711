"""The processes of one machine, as `manage.py up` supervises them, in the order of their start."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from continuity_site import embedded_redis
from continuity_site.supervisor import Child, die_with_parent, name_process

# Workers by name, and the queue of each: one on several queues would not take jobs atomically. Two for
# checks, so that while a probe waits for a silent server, others are made.
WORKERS = {"alerts": "alerts", "checks": "checks", "checks2": "checks", "bulk": "bulk"}


def children(*, redis: bool, demo: bool) -> list[Child]:
    """`redis`: start the embedded one. `demo`: start the demo mail server."""
    found = [Child("redis", _redis)] if redis else []
    found += [Child("demo", _demo)] if demo else []
    found += [Child("courier", _command("courier")), Child("gateway", _command("gateway"))]
    found += [Child(name, _worker(queue)) for name, queue in WORKERS.items()]
    found += [Child("tick", _command("tick")), Child("clock", _command("rqcron", "continuity_site.schedule"))]
    return [*found, Child("web", _web)]


def preload() -> None:
    """Import once, before forking, what the children share."""
    import rq.cron
    import rq.worker  # noqa: F401

    import continuity_site.schedule
    import continuity_site.urls
    import continuity_site.wsgi  # noqa: F401


def _command(name: str, *arguments: str) -> Callable[[], None]:
    def run() -> None:
        random.seed()  # else all children would draw the same jitter
        try:
            call_command(name, *arguments, skip_checks=True, stdout=io.StringIO())  # they talk by their logs
        except CommandError as error:
            sys.exit(str(error))

    return run


def _redis() -> None:
    command = embedded_redis.command(settings.DATA_DIR)
    os.execv(command[0], command)  # noqa: S606


def _demo() -> None:
    # Our own interpreter and module. Paths are told: its working directory may not be the project's.
    environment = os.environ | {
        "DATA_DIR": str(settings.DATA_DIR),
        "DEMO_SMTP_PORT": str(settings.DEMO_SMTP_PORT),
        "PYTHONPATH": str(settings.BASE_DIR),
    }
    os.execve(sys.executable, [sys.executable, "-m", "continuity_site.demo.server"], environment)  # noqa: S606


def _worker(queue: str) -> Callable[[], None]:
    def run() -> None:
        from django_rq.workers import get_worker
        from rq import Worker

        worker_pid = os.getpid()

        class SupervisedWorker(Worker):
            def setup_work_horse_signals(self) -> None:
                super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
                die_with_parent(worker_pid)

        worker = get_worker(queue, worker_class=SupervisedWorker)
        worker.work(logging_level="WARNING")

    return run


def _web() -> None:
    from gunicorn.app.base import BaseApplication

    from continuity_site.wsgi import application

    def post_fork(arbiter: Any, worker: Any) -> None:
        die_with_parent(arbiter.pid)
        name_process("cty-web-worker")

    class Web(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            options = {
                "bind": f"{_bracketed(settings.BIND_ADDRESS)}:{settings.WEB_PORT}",
                "worker_class": "gthread",
                "workers": 1,
                "threads": 8,
                "graceful_timeout": 3,
                "loglevel": "warning",
                "control_socket_disable": True,
                "post_fork": post_fork,
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return application

    Web().run()


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
