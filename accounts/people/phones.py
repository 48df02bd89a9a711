"""Phone numbers as spreadsheets leave them: the plus or the zero lost, digits rounded away. Pure."""

from __future__ import annotations

import re

import phonenumbers
from django.utils.translation import gettext as _
from phonenumbers import PhoneNumberType

from accounts import addresses
from accounts.addresses import Unusable

COUNTRIES = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_ROUNDED = re.compile(r"[+]?\d+(?:[.,]\d+)?[eE][+]?\d+")
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}


def from_file(text: str, country: str) -> str:
    """A number in E.164. `country` (ISO 3166, may be empty) is that of numbers without a country code.

    A number of digits alone, without 0 or + before it, may have lost either: the reading that is a number
    counts; of two that are, the mobile phone. Raises Unusable.
    """
    if _ROUNDED.fullmatch(text):
        raise Unusable(_("The spreadsheet has rounded this number. Format the column as text there."))
    text = re.sub(r"[.,]0+$", "", text) if re.fullmatch(r"\d+[.,]0+", text) else text
    text = re.sub(r"^\+?\s*(\d[\d\s]*)\(0\)", r"+\1", text)  # +49 (0) 170 …
    if text.startswith(("+", "00")) or (not text[:1].isdigit() and text[:1] != "("):
        return addresses.phone(text)
    national = _in_country(text, country)
    if text.startswith(("0", "(")):
        return addresses.phone(national) if national else addresses.phone(text)
    found = [number for number in (national, _valid(f"+{text}")) if number]
    if not found:
        return addresses.phone(text)  # says what is wrong
    if len(set(found)) > 1:
        found = [number for number in found if _kind(number) in _MOBILE]
        if len(found) != 1:
            raise Unusable(_("It is unclear whether this number has a country code. Write it with a +."))
    return addresses.phone(found[0])


def _in_country(text: str, country: str) -> str | None:
    return _valid(text, country) if country else None


def _valid(text: str, country: str | None = None) -> str | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _kind(number: str) -> int:
    return int(phonenumbers.number_type(phonenumbers.parse(number)))
