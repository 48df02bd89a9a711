"""Keeps manage tokens out of every log: whoever reads a log must not be able to act."""

from __future__ import annotations

import logging
import re

# The portal, and a person's own page.
_TOKEN = re.compile(r"(/me?/)[^/\s\"'?&]+")
_SERVERS = ("gunicorn.access", "gunicorn.error", "django.request", "django.server", "django.security.csrf")


def redacted(text: str) -> str:
    """The text with the token of every portal address replaced."""
    return _TOKEN.sub(r"\1[token]", text)


class RedactTokens(logging.Filter):
    """Replaces the token in `/m/<token>/` and `/me/<token>/`, also in tracebacks. Lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _TOKEN.search(message):
            record.msg, record.args = redacted(message), ()
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            if _TOKEN.search(text):
                record.exc_text = redacted(text)
        return True


def install() -> None:
    """Put the filter on the loggers that write request paths.

    The handler of settings.LOGGING has it too; these loggers may have handlers of their own (gunicorn).
    """
    for name in _SERVERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, RedactTokens) for known in logger.filters):
            logger.addFilter(RedactTokens())
