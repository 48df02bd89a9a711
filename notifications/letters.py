"""A mail's HTML on a page of its own, where it can do nothing to the console."""

from __future__ import annotations

from django.http import HttpResponse

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups allow-popups-to-escape-sandbox "
    "allow-top-navigation-by-user-activation; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)


def letter_response(html: str, text: str) -> HttpResponse:
    """As a mail program shows it: inline styles, and nothing but. The text where there is no HTML."""
    response = HttpResponse(html or text, content_type="text/html" if html else "text/plain")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response
