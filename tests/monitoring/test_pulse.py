"""The heartbeat tells others that monitoring lives: silence must be noticed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pytest_django import Settings

from monitoring import services
from monitoring.models import Monitor, Pulse
from monitoring.services import pulse
from tests.monitoring.conftest import START, WINDOW, Site
from tests.support.processes import free_port

SECOND = timedelta(seconds=1)


class Listener:
    """An HTTP server that counts, answers what it is told to, or is silent until it ends."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.status = 200
        self.speak = threading.Event()
        self.speak.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.calls.append(self.path)
                listener.speak.wait(10)
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def end(self) -> None:
        self.speak.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def listener(settings: Settings) -> Iterator[Listener]:
    made = Listener()
    settings.HEARTBEAT_URL = made.url
    settings.DNS_SERVERS = [f"127.0.0.1:{free_port()}"]
    try:
        yield made
    finally:
        made.end()


def nothing() -> None:
    return


def test_it_is_called_once_a_minute_however_often_the_clock_asks(site: Site, listener: Listener) -> None:
    assert services.beat(START + SECOND, nothing)
    for seconds in (2, 30, 60):
        assert not services.beat(START + seconds * SECOND, nothing)
    assert services.beat(START + 61 * SECOND, nothing)
    assert listener.calls == ["/ping", "/ping"]


def test_it_is_not_called_when_windows_are_overdue(site: Site, listener: Listener) -> None:
    assert not services.beat(START + 4 * WINDOW, nothing)
    Monitor.objects.update(judged_until=START + 3 * WINDOW)
    assert services.beat(START + 5 * WINDOW, nothing)
    assert len(listener.calls) == 1


def test_a_silent_listener_does_not_keep_windows_from_being_judged(
    site: Site, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "MEANWHILE_SECONDS", 0.01)
    listener.speak.clear()
    judged = []

    def meanwhile() -> None:
        judged.append(services.judge_due(START + WINDOW + SECOND))
        if len(judged) >= 3:
            listener.speak.set()

    assert services.beat(START + WINDOW + SECOND, meanwhile)
    assert judged[0] == 1


@pytest.mark.parametrize("trouble", ["500", "gone", "not http"])
def test_one_that_does_not_hear_harms_nothing(
    site: Site, listener: Listener, settings: Settings, trouble: str
) -> None:
    listener.status = 500
    if trouble != "500":
        settings.HEARTBEAT_URL = f"http://127.0.0.1:{free_port()}/" if trouble == "gone" else "http://["
    assert not services.beat(START + SECOND, nothing)


def test_without_a_url_only_the_witnesses_are_asked(
    site: Site, listener: Listener, settings: Settings
) -> None:
    settings.HEARTBEAT_URL = ""
    assert not services.beat(START + SECOND, nothing)
    assert listener.calls == []
    assert Pulse.get().beaten_at == START + SECOND


def test_the_row_is_not_written_with_every_tick(site: Site) -> None:
    for seconds in (0, 2, 14, 15, 16):
        services.note_tick(START + seconds * SECOND)
    assert Pulse.get().ticked_at == START + 15 * SECOND
    services.note_tick(START)
    assert Pulse.get().ticked_at == START, "the clock was put back"
