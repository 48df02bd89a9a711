"""The product's settings, but for how long it waits for a locked SQLite database: 1 second, not 30."""

from continuity_site.settings import *  # noqa: F403
from continuity_site.settings import DATABASES

if "timeout" in DATABASES["default"].get("OPTIONS", {}):
    DATABASES["default"]["OPTIONS"]["timeout"] = 1
