"""The second factor: an authenticator app (TOTP, RFC 6238) and recovery codes that count once each.

The app's secret stays in the database, for codes are computed from it; it is shown only until the first code
proves that the app has it. Of recovery codes only a keyed hash is kept.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from io import BytesIO
from os import urandom

import segno
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import Account, Membership, User
from accounts.services import Actor
from accounts.signin import rules, sessions
from accounts.signin.books import decided

VERIFIED = "second_factor"  # in the session, when it was given
SHOWN_FOR = timedelta(hours=1)  # a secret that no code proved by then is made anew


class Wait(Exception):  # noqa: N818  (an answer to the user)
    """Too many wrong codes: none is looked at before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__()
        self.until = until


def needed(user: User, roles: Mapping[Account, Membership.Role]) -> bool:
    """Whether the user may not do without."""
    return rules.second_factor_needed(
        platform=user.is_superuser,
        administers=(
            account.is_demo for account, role in roles.items() if role == Membership.Role.ADMINISTRATOR
        ),
    )


def missing(request: HttpRequest, user: User, roles: Mapping[Account, Membership.Role]) -> bool:
    """Whether this session must still give a second factor, or set one up."""
    return VERIFIED not in request.session and needed(user, roles)


def device_of(user: User) -> TOTPDevice | None:
    """The user's authenticator app."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def codes_left(user: User) -> int:
    """Recovery codes that were not used yet."""
    return int(StaticToken.objects.filter(device__user=user).count())


def offer(user: User) -> TOTPDevice:
    """An app that is being set up: the same one for as long as somebody may be looking at its QR code."""
    since = timezone.now() - SHOWN_FOR
    offered = TOTPDevice.objects.filter(user=user, confirmed=False)
    found = offered.filter(created_at__gt=since).order_by("pk").first()
    if found:
        return found
    offered.delete()
    return TOTPDevice.objects.create(user=user, confirmed=False, name="authenticator")


def secret_words(device: TOTPDevice) -> str:
    """The secret as an app takes it by hand: base 32 in groups of four."""
    text = b32encode(device.bin_key).decode("ascii")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def qr_code(device: TOTPDevice) -> bytes:
    """The secret as an SVG image, dark on white in either colour scheme."""
    file = BytesIO()
    segno.make(device.config_url, error="m").save(file, kind="svg", scale=5, dark="#000", light="#fff")
    return file.getvalue()


def set_up(user: User, text: str, actor: Actor, session_key: str | None) -> list[str] | None:
    """Take the offered app into use when `text` is its code; the one before counts no more.

    Every other session of the user ends. Returns new recovery codes, or None for a wrong code.
    """
    code = rules.totp(text)
    with decided(user, actor) as record:
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None or code is None or not _verified(device, code):
            return None
        replaced, _rows = TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        codes = _new_codes(user)
        sessions.end(user.pk, but=session_key)
        record("user.second_factor_set", subject=f"user:{user.pk}", replaced=bool(replaced))
    return codes


def verify(user: User, text: str) -> str | None:
    """“app” or “recovery” when `text` is a code of the user that was not used before. Raises Wait."""
    totp, recovery = rules.totp(text), rules.recovery(text)
    with transaction.atomic():
        if totp:
            app = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
            return "app" if app and _verified(app, totp) else None
        codes = StaticDevice.objects.select_for_update().filter(user=user).first()
        # What is no code at all counts as a wrong one, too.
        return "recovery" if codes and _verified(codes, _sealed(user, recovery or "")) else None


def new_codes(user: User, actor: Actor) -> list[str]:
    """Ten recovery codes in place of those before, shown this once."""
    with decided(user, actor) as record:
        record("user.recovery_codes_made", subject=f"user:{user.pk}")
        return _new_codes(user)


def remove(user: User, actor: Actor, session_key: str | None = None) -> None:
    """Take the second factor away, and end every other session of the user."""
    with decided(user, actor) as record:
        TOTPDevice.objects.filter(user=user).delete()
        StaticDevice.objects.filter(user=user).delete()
        sessions.end(user.pk, but=session_key)
        record("user.second_factor_removed", subject=f"user:{user.pk}")


def _verified(device: TOTPDevice | StaticDevice, code: str) -> bool:
    """django-otp refuses a code twice, and doubles the wait with every wrong one."""
    allowed, why = device.verify_is_allowed()
    if not allowed:
        raise Wait((why or {})["locked_until"])
    return bool(device.verify_token(code))


def _new_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery")
    codes = [_random_code() for _ in range(rules.RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=_sealed(user, code)) for code in codes)
    return [rules.grouped(code) for code in codes]


def _random_code() -> str:
    return b32encode(urandom(rules.RECOVERY_CHARACTERS)).decode("ascii").lower()[: rules.RECOVERY_CHARACTERS]


def _sealed(user: User, code: str) -> str:
    return salted_hmac(f"accounts.recovery.{user.pk}", code, algorithm="sha256").hexdigest()[:16]
