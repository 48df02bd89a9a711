"""The certificate that STARTTLS shows."""

from __future__ import annotations

import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

YEARS = 10


def server_context() -> ssl.SSLContext:
    """TLS 1.2 and later with TLS_CERTIFICATE and TLS_KEY, or with a certificate of our own making.

    Raises OSError or ssl.SSLError when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.TLS_CERTIFICATE:
        context.load_cert_chain(settings.TLS_CERTIFICATE, settings.TLS_KEY or None)
    else:
        context.load_cert_chain(own_certificate(settings.DATA_DIR / "tls", settings.GATEWAY_NAME))
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
