"""The one form of an e-mail address and a phone number, and what is out of band: no models, no database."""

from __future__ import annotations

from collections.abc import Iterable

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _


class Unusable(ValueError):  # noqa: N818
    """The address cannot be used; the message says why, in words for the user."""


def check_out_of_band(address: str, domains: Iterable[str]) -> None:
    """Raise Unusable when `address` is in one of the account's own mail domains or below one."""
    name = address.rpartition("@")[2].lower().rstrip(".")
    for domain in domains:
        if name == domain or name.endswith(f".{domain}"):
            raise Unusable(
                _(
                    "%(domain)s is one of the domains that Continuity watches over: mail to it may not "
                    "arrive when it is needed. Use an address elsewhere."
                )
                % {"domain": domain}
            )


def email(address: str) -> str:
    """An e-mail address in the form that is stored: domain in lower case, A-labels. Raises Unusable."""
    try:
        validate_email(address)
        local, _at, domain = address.rpartition("@")
        return f"{local}@{domain.encode('idna').decode('ascii').lower()}"
    except (ValidationError, UnicodeError) as error:
        raise Unusable(_("This is not an e-mail address.")) from error


def phone(address: str) -> str:
    """A phone number in E.164. Raises Unusable without a country code and when there is no such number."""
    problem = Unusable(
        _("This is not a phone number. Write it with its country code, such as +49 30 123456.")
    )
    try:
        number = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException as error:
        raise problem from error
    if number.extension or not phonenumbers.is_valid_number(number):
        raise problem
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
