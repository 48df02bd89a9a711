"""Reading the environment so that a wrong value is told by its setting's name, not by a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql")
_BOOLEANS = ("1", "true", "on", "yes", "0", "false", "off", "no")


class Environment(environ.Env):  # type: ignore[misc]
    """django-environ, refusing what it would guess at.

    Raises ImproperlyConfigured with a sentence that names the setting and the fix.
    """

    def int(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        value = self.str(var, default=str(default))
        try:
            return int(value)
        except ValueError:
            raise ImproperlyConfigured(
                f"{var} is “{value}”, which is not a whole number. Set it to one, such as {default}."
            ) from None

    def bool(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        value = self.str(var, default=str(default))
        if value.lower() not in _BOOLEANS:
            raise ImproperlyConfigured(f"{var} is “{value}”, which is neither yes nor no. Set it to 1 or 0.")
        return super().bool(var, default=default)

    def one_of(self, var: str, default: str, values: Sequence[str]) -> str:
        value: str = self.str(var, default=default)
        if value not in values:
            raise ImproperlyConfigured(f"{var} is “{value}”. Set it to one of {', '.join(values)}.")
        return value

    def database(self, var: str, default: str) -> dict[str, Any]:
        """The Django database dictionary for a database URL."""
        url = self.str(var, default="") or default
        scheme = url.partition(":")[0]
        if scheme not in DATABASE_SCHEMES:
            raise ImproperlyConfigured(
                f"{var} begins with “{scheme}”. Use postgres://user:password@host/name, "
                "or leave it empty for SQLite in DATA_DIR."
            )
        try:
            return dict(self.db_url_config(url))
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{var} cannot be read ({error}). Use postgres://user:password@host:5432/name."
            ) from None
