"""The one form of a contact point's address, and what is refused: no models, no database."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

from django.utils.translation import gettext as _

from accounts.addresses import Unusable, check_out_of_band, email, phone
from notifications.transports import webhook

__all__ = ["Unusable", "check_out_of_band", "cleaned", "masked"]

# Schemas of apprise that act on this machine, or send mail past the out-of-band rule.
_LOCAL = {"dbus", "qt", "kde", "glib", "gio", "gnome", "macosx", "windows", "syslog", "blink1"}
_MAIL = {"mailto", "mailtos"}
# Options of apprise URLs that make it read a file or an address of its own.
_FILE_OPTIONS = {"template", "attach", "config", "include", "path_file"}


def cleaned(channel: str, address: str) -> str:
    """The address in the form that is stored. Raises Unusable."""
    address = address.strip()
    if channel == "sms":
        return phone(address)
    if channel == "app":
        return _app(address)
    return email(address)


def masked(url: str) -> str:
    """An app URL with its secrets left out."""
    return f"{url.partition('://')[0]}://…"


def _app(address: str) -> str:
    schema = address.partition("://")[0].lower()
    if schema in webhook.SCHEMES:
        return _webhook(address)
    if not re.fullmatch(r"[a-z0-9]+", schema) or "://" not in address or re.search(r"\s", address):
        raise Unusable(_("This is not the address of a notification service, such as ntfys://host/topic."))
    if schema in _LOCAL or schema == "file":
        raise Unusable(_("%(schema)s:// acts on the gateway itself and tells nobody.") % {"schema": schema})
    if schema in _MAIL:
        raise Unusable(_("For e-mail, add a contact point of the channel e-mail."))
    try:
        parts = urlsplit(address)
        options = {name.lower() for name, _value in parse_qsl(parts.query, keep_blank_values=True)}
        host = parts.hostname or ""
    except ValueError as error:
        raise Unusable(_("This is not the address of a notification service.")) from error
    if options & _FILE_OPTIONS or "file:" in address.lower():
        raise Unusable(_("Options that read files are not allowed."))
    if _is_here(host):
        raise Unusable(_("This address leads to the gateway itself."))
    if not _known_to_apprise(address):
        raise Unusable(_("No notification service is known by this address. Check it against its manual."))
    return address


def _webhook(address: str) -> str:
    if re.search(r"\s", address):
        raise Unusable(_("This address has blanks in it."))
    try:
        webhook.target(address)
    except ValueError as error:
        raise Unusable(str(error)) from error
    return address


def _is_here(host: str) -> bool:
    if host in {"localhost", "localhost.localdomain"} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified


def _known_to_apprise(url: str) -> bool:
    from notifications.transports.apprise_ import understood  # slow to load, needed for this one question

    return understood(url)
