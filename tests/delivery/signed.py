"""Mail that is signed, and what the gateway makes of it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import dkim as dkimpy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from delivery.authentic.evaluation import Evaluator, Verdict
from tests.support.dns import DnsServer

SENDER = "bob@sender.example"
DOMAIN = "sender.example"
MAIL = (
    b"From: Bob <bob@sender.example>\r\nTo: anna@one.example\r\nSubject: hi\r\n\r\nHello  Anna \r\n\r\n\r\n"
)


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


@cache
def rsa_key(bits: int = 1024) -> tuple[bytes, str]:
    """Private key as PEM, and the record of the public one."""
    key = rsa.generate_private_key(65537, bits)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def publish(dns: DnsServer, record: str, domain: str = DOMAIN, selector: str = "s1") -> None:
    pieces = [record[at : at + 200] for at in range(0, len(record), 200)]
    dns.add(f"{selector}._domainkey.{domain}", "TXT", " ".join(f'"{piece}"' for piece in pieces))


def signed(mail: bytes = MAIL, *, domain: str = DOMAIN, selector: str = "s1", **options: Any) -> bytes:
    options.setdefault("privkey", rsa_key()[0])
    return (
        bytes(dkimpy.sign(mail, selector.encode(), domain.encode(), **options)).replace(b"\r\n", b"\r\n")
        + mail
    )


def evaluate(
    mail: bytes, *, address: str = "203.0.113.1", sender: str = SENDER, seconds: float = 5.0
) -> Verdict:
    domain = sender.rpartition("@")[2]

    async def work() -> Verdict:
        evaluator = Evaluator([], seconds)
        try:
            task = evaluator.begin(address, sender, domain, "mx.sender.example")
            data = bytearray(b"Received: by us\r\n" + mail)
            verdict = await evaluator.finish(task, domain, data, 17, "mx.sender.example")
            data[:0] = b"x"  # no thread may hold it any longer
            return verdict
        finally:
            evaluator.close()

    return asyncio.run(work())


def dkim_words(verdict: Verdict) -> list[str]:
    return [word for word in verdict.words if word.startswith("dkim=")]
