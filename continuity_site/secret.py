"""The installation's secret key, made once and kept in the data directory."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def secret_key(data_dir: Path) -> str:
    """Return the key in `data_dir/secret_key`, making it (mode 0600) on first use.

    Two processes that start together end up with the same key: the file appears under its name only
    when complete, and the first one to link it wins. Raises ImproperlyConfigured when it cannot be kept.
    """
    try:
        return _secret_key(data_dir)
    except OSError as error:
        raise ImproperlyConfigured(
            f"DATA_DIR is {data_dir}, which cannot be used ({error.strerror}). "
            "Set DATA_DIR to a directory that Continuity may write to."
        ) from error


def _secret_key(data_dir: Path) -> str:
    path = data_dir / "secret_key"
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    mine = data_dir / f"secret_key.{os.getpid()}"
    with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text()
