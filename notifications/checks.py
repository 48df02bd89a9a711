"""System checks: alerts that could not leave are found at the start, not at 3 a.m."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import DatabaseError, connections

from notifications.models import ContactPoint
from notifications.transports import twilio
from notifications.transports.smtp import relay_options


@register()
def settings_can_work(**_kwargs: Any) -> list[CheckMessage]:
    """The alert settings, where they are given, are of the right form."""
    found: list[CheckMessage] = []
    if settings.ALERT_EMAIL_URL:
        try:
            relay_options(settings.ALERT_EMAIL_URL)
        except ValueError as error:
            found.append(
                Error(
                    f"ALERT_EMAIL_URL cannot be used: {error}.",
                    hint="Use smtp+tls://user:password@relay.example.net:587 (STARTTLS), smtp+ssl:// or smtp://",
                    id="notifications.E001",
                )
            )
    if settings.ALERT_SMS_URL.startswith("twilio://"):
        try:
            twilio.Settings.read(settings.ALERT_SMS_URL)
        except ValueError as error:
            found.append(
                Error(
                    f"ALERT_SMS_URL cannot be used: {error}.",
                    hint="Use twilio://ACCOUNT_SID:AUTH_TOKEN@FROM/{to}, FROM a number, name or service.",
                    id="notifications.E003",
                )
            )
    elif settings.ALERT_SMS_URL and "{to}" not in settings.ALERT_SMS_URL:
        found.append(
            Error(
                "ALERT_SMS_URL has no place for the number to send to.",
                hint="Put {to} where the provider's URL has the recipient, as in vonage://KEY:SECRET@FROM/{to}",
                id="notifications.E002",
            )
        )
    for network in settings.WEBHOOK_NETWORKS:
        try:
            ip_network(network)
        except ValueError:
            found.append(
                Error(
                    f"WEBHOOK_NETWORKS: {network} is not a network.",
                    hint="Use networks such as 10.20.0.0/16, separated by commas.",
                    id="notifications.E004",
                )
            )
    return found


@register(Tags.database)
def contacts_can_be_reached(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Every channel that contacts rely on has its setting. Looks into the database: `check --database`."""
    found: list[CheckMessage] = []
    for channel, name in (("email", "ALERT_EMAIL_URL"), ("sms", "ALERT_SMS_URL")):
        if getattr(settings, name) or not any(_relied_on(channel, alias) for alias in databases or ()):
            continue
        found.append(
            Warning(
                f"Contacts are to be alerted by {channel}, and {name} is not set: nothing would leave.",
                hint=f"Set {name} to a relay or provider that works while the mail server does not.",
                id="notifications.W001" if channel == "email" else "notifications.W002",
            )
        )
    return found


def _relied_on(channel: str, alias: str) -> bool:
    """Whether an active contact outside the demo has such a point; no while the tables do not exist."""
    try:
        if ContactPoint._meta.db_table not in connections[alias].introspection.table_names():
            return False
        points = ContactPoint.objects.using(alias).usable().filter(channel=channel)
        return points.filter(contact__active=True, contact__account__is_demo=False).exists()
    except DatabaseError:
        return False
