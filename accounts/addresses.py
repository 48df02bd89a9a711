"""The one form of an e-mail address and a phone number, and what is out of band: no models, no database."""

from __future__ import annotations

import re
from collections.abc import Iterable

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from phonenumber_field.phonenumber import PhoneNumber

_NO_NUMBER = gettext_lazy(
    "This is not a phone number. Write it with its country code, such as +49 170 1234567."
)
_UNREADABLE = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: gettext_lazy("No country has this country code."),
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: gettext_lazy("This number is too short."),
    phonenumbers.NumberParseException.TOO_SHORT_NSN: gettext_lazy("This number is too short."),
    phonenumbers.NumberParseException.TOO_LONG: gettext_lazy("This number is too long."),
}
_IMPOSSIBLE = {
    phonenumbers.ValidationResult.TOO_SHORT: gettext_lazy("This number is too short for its country."),
    phonenumbers.ValidationResult.TOO_LONG: gettext_lazy("This number is too long for its country."),
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: gettext_lazy("This number lacks its area code."),
    phonenumbers.ValidationResult.INVALID_COUNTRY_CODE: gettext_lazy("No country has this country code."),
}
_SERVICES = {
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
    phonenumbers.PhoneNumberType.SHARED_COST,
    phonenumbers.PhoneNumberType.TOLL_FREE,
}


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
    """A phone number in E.164. Raises Unusable, which says what is wrong with it."""
    if address.startswith("00"):
        address = f"+{address[2:]}"  # the international prefix of most of the world
    if re.search(r"[^\W\d_]", re.sub(r"(ext\.?|x)\s*\d+$", "", address, flags=re.IGNORECASE)):
        raise Unusable(_("This is not a phone number: it has letters in it."))
    if not address.startswith("+"):
        raise Unusable(_("Write the number with its country code, such as +49 170 1234567."))
    try:
        number = PhoneNumber.from_string(address)
    except phonenumbers.NumberParseException as error:
        raise Unusable(_UNREADABLE.get(error.error_type, _NO_NUMBER)) from error
    if number.extension:
        raise Unusable(_("An extension gets no SMS. Write the number of the phone itself."))
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise Unusable(_IMPOSSIBLE.get(possible, _NO_NUMBER))
    if not number.is_valid():
        raise Unusable(_("No phone has this number: check its digits."))
    if phonenumbers.number_type(number) in _SERVICES:
        raise Unusable(_("This is the number of a service line, not of a phone: it gets no SMS."))
    return str(number.as_e164)
