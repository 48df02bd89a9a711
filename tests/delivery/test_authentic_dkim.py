"""DKIM against a real DNS server: each result, and what hostile mail can do."""

from __future__ import annotations

import base64
import hashlib

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.authentic.dkim import Dkim, body_hash, signatures
from tests.delivery.signed import MAIL, dkim_words, evaluate, publish, rsa_key, signed
from tests.support.dns import DnsServer


@pytest.mark.parametrize("header", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
def test_a_signature_passes_whatever_its_canonical_form(dns: DnsServer, header: bytes, body: bytes) -> None:
    publish(dns, rsa_key()[1])
    verdict = evaluate(signed(canonicalize=(header, body)))
    assert dkim_words(verdict) == ["dkim=pass header.d=sender.example header.s=s1"]
    assert verdict.authentic is True


def test_an_ed25519_signature_passes(dns: DnsServer) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    raw = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    private = base64.b64encode(key.private_bytes(*raw))
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    publish(dns, f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}")
    mail = signed(privkey=private, signature_algorithm=b"ed25519-sha256")
    assert dkim_words(evaluate(mail)) == ["dkim=pass header.d=sender.example header.s=s1"]
    assert dkim_words(evaluate(mail.replace(b"hi", b"ho"))) == [
        "dkim=fail (signature does not match) header.d=sender.example header.s=s1"
    ]


def test_what_is_not_as_it_was_signed_fails(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    mail = signed()
    cases = {
        "(body changed)": mail.replace(b"Hello", b"Hullo"),
        "(signature does not match)": mail.replace(b"Subject: hi", b"Subject: ho"),
    }
    for reason, changed in cases.items():
        verdict = evaluate(changed)
        assert dkim_words(verdict) == [f"dkim=fail {reason} header.d=sender.example header.s=s1"]
        assert verdict.authentic is False
    assert "dkim=pass" in dkim_words(evaluate(b"X-Added: by a relay\r\n" + mail))[0]
    # Length-limited: what a mailing list put behind is not covered.
    assert (
        "dkim=pass"
        in dkim_words(evaluate(signed(length=True, canonicalize=(b"relaxed", b"simple")) + b"--\r\n"))[0]
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, "dkim=permerror (no key)"),
        ("v=DKIM1; p=", "dkim=fail (key revoked)"),
        ("v=DKIM1; k=rsa; p=bm90IGEga2V5", "dkim=permerror (key or signature not valid)"),
        ("v=DKIM1; k=rsa; p=" + "A" * 3000, "dkim=permerror (key too large)"),
        ("v=DKIM1; k=dsa; p=AAAA", "dkim=permerror (key or signature not valid)"),
        ("small", "dkim=policy (key of 512 bits)"),
    ],
)
def test_a_key_that_is_none_proves_nothing(dns: DnsServer, record: str | None, expected: str) -> None:
    small = record == "small"
    if small:
        record = SMALL_KEY
    if record is not None:
        publish(dns, record)
    verdict = evaluate(signed())
    assert dkim_words(verdict) == [f"{expected} header.d=sender.example header.s=s1"]
    assert verdict.authentic is False


# 512 bits, made by OpenSSL; the libraries of today refuse to make one.
SMALL_KEY = (
    "v=DKIM1; k=rsa; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL1GNpyOXZ6VUPWAmX2YpYhv9nFQ7zC+"
    "Zm0ZkU8nBv0xvQ5nSx9Y2y7y0f4m8tq0rW1nPq8QyQm1w2b0fK8c9t8CAwEAAQ=="
)


def test_hostile_signatures_cost_little_and_prove_nothing(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    good = b"v=1; a=rsa-sha256; d=sender.example; s=s1; h=from; bh=AAAA; b=AAAA"
    fields = {
        "dkim=permerror (signature cannot be read)": b"nonsense",
        "dkim=neutral (signature too long)": good + b";" + b" " * 7000 + b"z=!",
        "dkim=permerror (the wrong headers are signed)": good.replace(
            b"h=from", b"h=" + b"from:" * 300 + b"x"
        ),
        "dkim=permerror (domain or selector not valid)": good.replace(b"s=s1", b"s=s1\x00)"),
        "dkim=policy (rsa-sha1)": good.replace(b"rsa-sha256", b"rsa-sha1"),
        "dkim=fail (body changed)": good,
    }
    for expected, field in fields.items():
        (words,) = dkim_words(evaluate(b"DKIM-Signature: " + field + b"\r\n" + MAIL))
        assert words.startswith(expected)
    many = (b"DKIM-Signature: " + good + b"\r\n") * 200
    assert len(dkim_words(evaluate(many + MAIL))) == 5
    assert dkim_words(evaluate(signed()[:200] + b"X: " + b"x" * 300_000 + b"\r\n" + MAIL)) == [
        "dkim=neutral (headers too large)"
    ]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_any_headers_are_looked_at_without_an_error(junk: bytes) -> None:
    for found in signatures(b"DKIM-Signature: " + junk + b"\r\n"):
        if isinstance(found, Dkim):
            assert found.result in ("neutral", "permerror", "policy")


WORDS = st.lists(
    st.sampled_from([b" ", b"\t", b"\r\n", b"a", b".", b"   ", b"\r\n\r\n", b"xy" * 50]), max_size=60
)


@settings(deadline=None, max_examples=150)
@given(WORDS, st.booleans(), st.integers(1, 9), st.one_of(st.none(), st.integers(0, 300)))
def test_the_hash_in_pieces_is_the_hash_of_the_whole(
    words: list[bytes], relaxed: bool, piece: int, limit: int | None
) -> None:
    body = b"".join(words) + b"\r\n"
    form = dkimpy.canonicalization.Relaxed if relaxed else dkimpy.canonicalization.Simple
    whole = form.canonicalize_body(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("delivery.authentic.dkim._PIECE", piece)
        assert (
            body_hash(memoryview(body), relaxed=relaxed, limit=limit)
            == hashlib.sha256(whole[:limit]).digest()
        )
