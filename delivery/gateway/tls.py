"""The certificate that STARTTLS shows."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

log = logging.getLogger(__name__)

YEARS = 10
WATCH_SECONDS = 5.0


class Certificate:
    """TLS_CERTIFICATE and TLS_KEY, or a certificate of our own making, and the context that shows it.

    `context` is for new handshakes; connections keep the one they began with. Raises OSError or ssl.SSLError
    when the files cannot be used at the start; later, what worked last stays.
    """

    def __init__(self) -> None:
        self._files = [Path(name) for name in (settings.TLS_CERTIFICATE, settings.TLS_KEY) if name]
        if not self._files:
            self._files = [own_certificate(settings.DATA_DIR / "tls", settings.GATEWAY_NAME)]
        self._seen = self._look()
        self.context = _context(self._files)

    def refresh(self) -> None:
        """Take new files up, if there are any."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.context = _context(self._files)
        except OSError as error:  # ssl.SSLError is one
            log.error("the new certificate cannot be used, the one before stays: %s", error)
        else:
            log.info("new certificate from %s", self._files[0])

    async def watch(self) -> None:
        """Refresh every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.refresh()

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _context(files: Sequence[Path]) -> ssl.SSLContext:
    """TLS 1.2 and later, with the certificate, and its key from the second file if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Of an encrypted key it would ask the terminal for the password, and wait.
    certificate, *key = files
    context.load_cert_chain(certificate, key[0] if key else None, password=lambda: "")
    return context


def own_certificate(directory: Path, name: str) -> Path:
    """The file with our self-signed certificate and its key, made on the first start.

    Mail servers do not verify each other unless told to, so it serves to encrypt.
    """
    path = directory / "gateway.pem"
    if path.exists():
        return path
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / f"gateway.{secrets.token_hex(8)}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(_self_signed(name))
    try:
        os.link(draft, path)  # another gateway that starts now may be first: its file stays
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path


def _self_signed(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
