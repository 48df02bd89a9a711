"""Signing in to a mail server (RFC 4954), with what the route holds for the host. Only over TLS."""

from __future__ import annotations

import aiosmtplib

from accounts import secrets
from delivery.services.claims import Host


class CannotSignIn(aiosmtplib.SMTPException):
    """The server gives no way to sign in, or our own password cannot be read; the message says which."""


async def sign_in(smtp: aiosmtplib.SMTP, host: Host, seconds: float) -> None:
    """AUTH PLAIN or LOGIN. Raises CannotSignIn, and SMTPAuthenticationError with the server's words."""
    if smtp.get_transport_info("sslcontext") is None:
        raise CannotSignIn("The connection is not encrypted, so the password is not sent.")
    offered = set(smtp.supported_auth_methods)
    try:
        password = secrets.decrypt(host.sealed_password)
    except secrets.Unreadable as error:
        raise CannotSignIn(
            "The stored password cannot be read, because SECRET_KEY has changed: enter it again."
        ) from error
    if "plain" in offered:
        await smtp.auth_plain(host.username, password, timeout=seconds)
    elif "login" in offered:
        await smtp.auth_login(host.username, password, timeout=seconds)
    else:
        raise CannotSignIn("The server offers neither AUTH PLAIN nor AUTH LOGIN.")
