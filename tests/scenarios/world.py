"""What a scenario begins with: an organisation in the database, and the installation as `manage.py up`."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path

from django.utils import timezone

from accounts.models import Account, Contact, MailDomain, Person
from delivery.models import NextHop, Route, RouteHost
from delivery.services import ensure_next_hop
from monitoring.models import Monitor
from notifications.models import ContactPoint
from tests.support.processes import Process, Processes, free_port, listens, wait_until

DOMAIN = "example.com"
PEOPLE = ("ann", "bob", "cleo", "dan", "eve", "fay")
ADDRESSES = tuple(f"{name}@{DOMAIN}" for name in PEOPLE)
UTF8_ADDRESS = f"jürgen@{DOMAIN}"
CONTACTS = {"Maria": "maria@phone.example.net", "Tom": "tom@phone.example.net"}


@dataclass(frozen=True)
class World:
    """An organisation whose mail server is on a port of loopback, watched in short windows."""

    account: Account
    route: Route
    monitor: Monitor

    def next_hop(self) -> NextHop:
        return NextHop.objects.get(route=self.route)

    def state(self) -> str:
        return self.next_hop().state


def organisation(mail_server_port: int, *, window_seconds: int = 4) -> World:
    """Two contacts out of band, seven people; the outage opens after two failed windows."""
    account = Account.objects.create(name="Example", slug="example", time_zone="Europe/Berlin")
    MailDomain.objects.create(account=account, name=DOMAIN)
    for address in (*ADDRESSES, UTF8_ADDRESS):
        Person.objects.create(account=account, name=address, address=address)
    route = Route.objects.create(
        account=account, name="Mail server", canary_first_seconds=0.5, canary_max_seconds=1
    )
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=mail_server_port)
    ensure_next_hop(route)
    monitor = Monitor.objects.create(
        account=account, description="Mail server", route=route, threshold=2, window_seconds=window_seconds
    )
    for name, address in CONTACTS.items():
        contact = Contact.objects.create(account=account, name=name)
        ContactPoint.objects.create(
            contact=contact, channel=ContactPoint.Channel.EMAIL, address=address, verified_at=timezone.now()
        )
        monitor.contacts.add(contact)
    return World(account, route, monitor)


class Installation:
    """`manage.py up` on the test's database, with ports and a data directory of its own."""

    def __init__(self, processes: Processes, database_url: str, **environment: str) -> None:
        self._processes = processes
        self.web_port, self.smtp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self._environment = environment | {
            "DATABASE_URL": database_url,
            "REDIS_URL": "",
            "WEB_PORT": str(self.web_port),
            "SMTP_PORT": str(self.smtp_port),
            "BASE_URL": self.url,
            "DEMO": "0",
        }
        self.up: Process | None = None

    def start(self) -> None:
        """Start everything and wait until mail and pages are served."""
        self.up = self._processes.manage("up", "up", **self._environment)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.up is not None
            assert self.up.alive, f"it ended:\n{self.up.log()[-3000:]}"
            return listens(self.smtp_port) and listens(self.web_port)

        wait_until(ready, "the installation is up", 30)

    def children(self) -> dict[str, int]:
        """Process ids by name: gateway, courier, web, redis, alerts, checks, …"""
        assert self.up is not None
        found = {}
        for pid in Path(f"/proc/{self.up.pid}/task/{self.up.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it died meanwhile
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                found[name.removeprefix("cty-").removesuffix("-server")] = int(pid)
        return found

    def kill(self, name: str) -> None:
        """SIGKILL to one child, and wait until another has taken its place."""
        old = wait_until(lambda: self.children().get(name), f"{name} runs")
        assert old
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.children().get(name, old) != old, f"{name} is started again")

    def problems(self) -> list[str]:
        """Errors that any process logged."""
        assert self.up is not None
        return [
            line for line in self.up.log().splitlines() if re.search(r" ERROR | CRITICAL |Traceback", line)
        ]


@contextmanager
def installation(directory: Path, database_url: str, **environment: str) -> Iterator[Installation]:
    """An installation that is up; all of its processes end with the block."""
    with Processes(directory) as processes:
        site = Installation(processes, database_url, **environment)
        site.start()
        yield site
    assert site.up is not None
    assert "did not stop within" not in site.up.log()


class Phone:
    """A contact's browser without JavaScript: opens a link, presses buttons."""

    def __init__(self, link: str) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._link = link
        self.open()

    def open(self) -> None:
        """Open the link, or reload it."""
        self.page = self._read(urllib.request.Request(self._link))

    def follow(self, action: str) -> None:
        """Follow the link on the page whose address ends in the action."""
        link = re.search(rf'<a [^>]*href="([^"]*/{action}/)"', self.page)
        assert link, f"no link to {action}:\n{self.page}"
        self.page = self._read(urllib.request.Request(urllib.parse.urljoin(self._link, link[1])))

    def press(self, action: str, **values: str) -> str:
        """Submit the form of the page whose address ends in the action; return the text that answers."""
        form = re.search(rf'(?s)<form[^>]*action="([^"]*/{action}/)".*?</form>', self.page)
        assert form, f"no button for {action}:\n{self.page}"
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0])
        data = urllib.parse.urlencode(dict(hidden) | values).encode()
        target = urllib.parse.urljoin(self._link, form[1])
        headers: Mapping[str, str] = {"Referer": self._link}
        self.page = self._read(urllib.request.Request(target, data, dict(headers)))
        return self.text()

    def text(self) -> str:
        """What the page says, without markup."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.page).split())

    def _read(self, request: urllib.request.Request) -> str:
        """The page; on a bad line, or when the server was killed amid it, people press again."""

        def answered() -> str:
            try:
                with self._opener.open(request, timeout=15) as response:
                    return str(response.read().decode())
            except urllib.error.HTTPError:
                raise
            except (OSError, http.client.HTTPException):
                return ""

        return wait_until(answered, "the page is served")
