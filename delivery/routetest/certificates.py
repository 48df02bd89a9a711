"""What a server's certificate says: names, issuer, end, chain."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

SHOWN_NAMES = 8


def certificate_facts(connection: ssl.SSLObject, now: datetime) -> dict[str, Any]:
    """JSON facts of the peer's certificate; `days` until its end, negative after it."""
    data = connection.getpeercert(binary_form=True)
    facts: dict[str, Any] = {"protocol": connection.version() or ""}
    if not data:
        return facts
    try:
        certificate = x509.load_der_x509_certificate(data)
        facts |= {
            "names": names(certificate)[:SHOWN_NAMES],
            "issuer": short_name(certificate.issuer),
            "expires": certificate.not_valid_after_utc.astimezone(UTC).isoformat(),
            "days": int((certificate.not_valid_after_utc - now) / timedelta(days=1)),
            "chain": [short_name(one.subject) for one in _chain(connection)],
        }
    except ValueError as error:  # OpenSSL took it; showing it is not worth a failure
        facts["unreadable"] = str(error)[:200]
    return facts


def names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that the certificate is for."""
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [short_name(certificate.subject)]
    addresses = [str(one) for one in listed.get_values_for_type(x509.IPAddress)]
    return [*listed.get_values_for_type(x509.DNSName), *addresses]


def short_name(name: x509.Name) -> str:
    """The common name, or the whole when it has none."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(
        NameOID.ORGANIZATION_NAME
    )
    return str(common[0].value) if common else name.rfc4514_string()


def _chain(connection: ssl.SSLObject) -> list[x509.Certificate]:
    """What the server sent, its own first. Public from Python 3.13 on; before, on the object inside."""
    inside = getattr(connection, "_sslobj", None)
    read = getattr(connection, "get_unverified_chain", None)
    if read:
        return [x509.load_der_x509_certificate(one) for one in read()]
    read = getattr(inside, "get_unverified_chain", None)
    return [x509.load_der_x509_certificate(_der(one)) for one in (read() if read else [])]


def _der(one: Any) -> bytes:
    return bytes(ssl.PEM_cert_to_DER_cert(one.public_bytes()))
