"""A setting that cannot work stops the start with a sentence that names it, never with a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Error
from pytest_django import Settings

from continuity_site.checks import check_settings
from continuity_site.embedded_redis import SOCKET_PATH_BYTES, socket_path


def found() -> list[str]:
    """The IDs found, having made sure that each error names its setting and tells the fix."""
    messages = check_settings()
    assert all(isinstance(message, Error) and message.hint for message in messages)
    return [message.id or "" for message in messages]


def test_the_defaults_pass() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WEB_PORT", 0, "E002"),
        ("SMTP_PORT", 65536, "E002"),
        ("DEMO_SMTP_PORT", -1, "E002"),
        ("SMTP_PORT", 8000, "E003"),
        ("SIGN_IN_FAILURES", 0, "E014"),
        ("BIND_ADDRESS", "localhost", "E004"),
        ("BIND_ADDRESS", "300.1.1.1", "E004"),
        ("GATEWAY_NAME", "gateway", "E006"),
        ("GATEWAY_NAME", "mx.example.com\r\n250 hello", "E006"),
        ("GATEWAY_NAME", "-mx.example.com", "E006"),
        ("BASE_URL", "continuity.example.com", "E007"),
        ("BASE_URL", "ftp://continuity.example.com", "E007"),
        ("BASE_URL", "https://", "E007"),
        ("BASE_URL", "https://continuity.example.com/console", "E007"),
        ("BASE_URL", "https://continuity.example.com:https", "E007"),
        ("REDIS_URL", "http://127.0.0.1:6379", "E008"),
        ("REDIS_URL", "127.0.0.1", "E008"),
        ("ALERT_EMAIL_URL", "relay.example.net", "E009"),
        ("ALERT_EMAIL_URL", "smtp://", "E009"),
        ("SECRET_KEY", "short", "E012"),
        ("DNS_SERVERS", ["dns.example.net"], "E013"),
        ("DNS_SERVERS", ["192.0.2.1:99999"], "E013"),
        ("SUBMISSION_PORT", 65536, "E002"),
        ("SUBMISSION_PORT", 2525, "E003"),
        ("SIZE_LIMIT", 0, "E014"),
        ("SIZE_LIMIT", -1, "E014"),
        ("GATEWAY_RECIPIENTS", 99, "E014"),
        ("GATEWAY_CONNECTIONS", 0, "E014"),
        ("GATEWAY_CONNECTIONS_PER_ADDRESS", 0, "E014"),
        ("GATEWAY_COMMANDS", 1, "E014"),
        ("GATEWAY_ERRORS", 0, "E014"),
        ("GATEWAY_IDLE_SECONDS", 0, "E014"),
        ("GATEWAY_MEMORY", 52_428_799, "E015"),
        ("TRUSTED_NETWORKS", ["10.0.0.0/33"], "E016"),
        ("TRUSTED_NETWORKS", ["example.org"], "E016"),
    ],
)
def test_a_value_that_cannot_work_is_found(
    settings: Settings, name: str, value: object, expected: str
) -> None:
    setattr(settings, name, value)
    assert found() == [f"continuity.{expected}"]
    assert any(name in message.msg for message in check_settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND_ADDRESS", "::1"),
        ("SUBMISSION_PORT", 587),
        ("TRUSTED_NETWORKS", []),
        ("TRUSTED_NETWORKS", ["192.0.2.7", "2001:db8::/32"]),
        ("BIND_ADDRESS", "0.0.0.0"),
        ("GATEWAY_NAME", "mx1.example.com"),
        ("BASE_URL", "https://continuity.example.com:8443"),
        ("REDIS_URL", "rediss://user:secret@redis.example.com:6380/1"),
        ("REDIS_URL", "unix:///run/redis/redis.sock?db=2"),
        ("ALERT_EMAIL_URL", "smtp+starttls://user:p%40ss@relay.example.net:587"),
    ],
)
def test_a_value_that_works_passes(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)
    assert found() == []


def test_debug_is_for_this_machine_only(settings: Settings) -> None:
    settings.DEBUG, settings.BIND_ADDRESS = True, "0.0.0.0"
    assert found() == ["continuity.E005"]


def test_a_data_directory_that_cannot_be_made_is_found(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.DATA_DIR = tmp_path / "file" / "data"
    assert found() == ["continuity.E001"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WEB_PORT", "http", "not a whole number"),
        ("SMTP_PORT", "25 or so", "not a whole number"),
        ("DEBUG", "maybe", "neither yes nor no"),
        ("LOG_LEVEL", "chatty", "one of DEBUG"),
        ("DATABASE_URL", "mysql://root@127.0.0.1/continuity", "postgres://"),
        ("DATABASE_URL", "postgres://user@127.0.0.1:port/continuity", "DATABASE_URL"),
        ("WEB_PORT", "70000", "Set WEB_PORT to"),
        ("DATA_DIR", "/dev/null/data", "Set DATA_DIR to"),
    ],
)
def test_a_wrong_value_stops_the_start_with_a_sentence(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    environment = os.environ | {"DATA_DIR": str(tmp_path), "SECRET_KEY": "", name: value}
    answer = subprocess.run(
        [sys.executable, "manage.py", "up"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert name in answer.stderr
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_socket_of_a_deep_data_directory_moves_to_a_short_path() -> None:
    deep = Path("/srv") / ("d" * 60) / ("e" * 60)
    assert socket_path(Path("/srv/data")) == Path("/srv/data/redis.sock")
    assert len(os.fsencode(socket_path(deep))) <= SOCKET_PATH_BYTES
    assert socket_path(deep) != socket_path(deep / "other")


def test_every_setting_is_explained_in_the_example() -> None:
    source = Path("continuity_site/settings.py").read_text()
    names = set(re.findall(r'\benv\.\w+\(\s*"([A-Z_]+)"', source))
    explained = set(re.findall(r"^#([A-Z_]+)=", Path(".env.example").read_text(), re.MULTILINE))
    assert len(names) > 15
    assert names == explained


def test_a_provider_needs_https_and_credentials(settings: Settings) -> None:
    settings.OIDC_ISSUER = "http://login.example.com"
    assert found() == ["continuity.E021", "continuity.E022"]
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = "https://x.example", "a", "b"
    assert found() == []
