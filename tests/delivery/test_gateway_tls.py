"""New certificate files are taken up while the gateway runs; broken ones leave the old one in place."""

from __future__ import annotations

import functools
import os
import signal
import smtplib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pytest_django import Settings

from delivery.gateway.tls import Certificate, _self_signed
from delivery.models import Message
from tests.support.gateway import RunningGateway, account, gateway
from tests.support.processes import Processes, free_port, listens, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def write(directory: Path, name: str) -> None:
    """Put certificate and key of `name` in place as certbot does: one after the other."""
    private, mark, certificate = _self_signed(name).partition(b"-----BEGIN CERTIFICATE-----")
    for file, content in (("cert.pem", mark + certificate), ("key.pem", private)):
        draft = directory / f"{file}.new"
        draft.write_bytes(content)
        draft.rename(directory / file)


@pytest.fixture
def files(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("delivery.gateway.tls.WATCH_SECONDS", 0.02)
    write(tmp_path, "old.example")
    settings.TLS_CERTIFICATE, settings.TLS_KEY = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    return tmp_path


def connected(port: int) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=20)
    client.starttls(context=ssl._create_unverified_context())
    return client


def shown(client: smtplib.SMTP) -> str:
    """The name in the certificate that the connection was opened with."""
    assert isinstance(client.sock, ssl.SSLSocket)
    der = client.sock.getpeercert(binary_form=True)
    assert der
    subject = x509.load_der_x509_certificate(der).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def shown_now(server: RunningGateway) -> str:
    with connected(server.port) as client:
        return shown(client)


def shows(port: int, name: str) -> bool:
    with connected(port) as client:
        return shown(client) == name


def test_a_new_certificate_is_shown_and_no_connection_is_dropped(files: Path) -> None:
    account()
    with gateway() as server, connected(server.port) as before:
        assert shown(before) == "old.example"
        write(files, "new.example")
        wait_until(lambda: shown_now(server) == "new.example", "the new certificate is shown")
        before.sendmail("bob@else.example", ["anna@one.example"], b"x\r\n")
        assert shown(before) == "old.example"
        with connected(server.submission_port) as submission:
            assert shown(submission) == "new.example"
    assert Message.objects.count() == 1


@pytest.mark.parametrize("damage", ["no PEM", "gone", "another key", "encrypted key"])
def test_a_broken_file_leaves_the_old_certificate_and_is_logged(
    files: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway() as server:
        if damage == "no PEM":
            (files / "cert.pem").write_text("oops")
        elif damage == "gone":
            (files / "key.pem").unlink()
        elif damage == "another key":
            (files / "key.pem").write_bytes(_self_signed("other.example").partition(b"-----BEGIN C")[0])
        else:
            key = serialization.load_pem_private_key((files / "key.pem").read_bytes(), None)
            (files / "key.pem").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(b"secret"),
                )
            )
        wait_until(lambda: "the one before stays" in caplog.text, "the error is logged")
        assert shown_now(server) == "old.example"
        assert caplog.text.count("the one before stays") == 1  # once, not every few seconds
        write(files, "new.example")
        wait_until(lambda: shown_now(server) == "new.example", "the repaired certificate is shown")


def test_at_the_start_a_broken_certificate_is_an_error(files: Path) -> None:
    (files / "cert.pem").write_text("oops")
    with pytest.raises(OSError, match="PEM"):
        Certificate()


def test_the_real_process_listens_on_both_ports_and_takes_a_hangup_for_new_files(
    files: Path, database_url: str, tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    environment = {
        "DATABASE_URL": database_url,
        "SMTP_PORT": str(ports[0]),
        "SUBMISSION_PORT": str(ports[1]),
        "TLS_CERTIFICATE": str(files / "cert.pem"),
        "TLS_KEY": str(files / "key.pem"),
    }
    with Processes(tmp_path / "data", **environment) as processes:
        process = processes.manage("gateway", "gateway")
        wait_until(lambda: listens(ports[1]), "the submission port", 30)
        with connected(ports[0]) as before:
            write(files, "new.example")
            os.kill(process.pid, signal.SIGHUP)
            for port in ports:
                wait_until(functools.partial(shows, port, "new.example"), "the new certificate")
            assert before.noop()[0] == 250
        assert process.alive
