"""Who: organisations, their domains and people, the contacts who are alerted, and the audit."""

from __future__ import annotations

from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Value
from django.db.models.functions import Left, StrIndex
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

import accounts.people.models
import accounts.tokens.models  # noqa: F401  (Django looks for models here)
from accounts import addresses
from accounts.signin.sessions import Session as Session


def validate_time_zone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone."""
    if name not in available_timezones():
        raise ValidationError(
            _("“%(name)s” is not a time zone. Use a name such as Europe/Berlin."), params={"name": name}
        )


class TimeZoneField(models.CharField[str, str]):
    """An IANA time zone name."""

    def __init__(self, **kwargs: object) -> None:
        options: dict[str, object] = {"max_length": 64, "default": "UTC", "validators": [validate_time_zone]}
        super().__init__(**(options | kwargs))  # type: ignore[arg-type]


class User(AbstractUser):
    """Somebody who signs in to the console. `is_superuser` is the platform administrator."""

    time_zone = TimeZoneField()


class AccountQuerySet(models.QuerySet["Account"]):
    def visible_to(self, user: User) -> AccountQuerySet:
        """The accounts that `user` may know of: all for the platform administrator, else by membership."""
        return self if user.is_superuser else self.filter(memberships__user=user)


class Account(models.Model):
    """One organisation. Its row is also the lock under which every decision for it is made."""

    name = models.CharField(max_length=80, help_text=_("Short: it stands in every SMS."))
    slug = models.SlugField(unique=True)
    time_zone = TimeZoneField()
    is_demo = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AccountQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class MailDomain(models.Model):
    """A domain whose mail the gateway accepts for the account (lower case, A-label form)."""

    class Policy(models.TextChoices):
        KNOWN = "known", _("Known recipients only")
        ALL = "all", _("Accept all")

    account = models.ForeignKey(Account, models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253, unique=True)
    policy = models.CharField(max_length=8, choices=Policy, default=Policy.KNOWN)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """The role of a user in an account."""

    class Role(models.TextChoices):
        ADMINISTRATOR = "administrator", _("Administrator")
        SUPPORT = "support", _("Support")

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["user", "account"], name="one_role_per_user_and_account")
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Person(models.Model):
    """A mailbox owner of the account, and how to reach them while the mail server is down."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="people")
    name = models.CharField(max_length=120)
    address = models.EmailField(unique=True, help_text=_("Mailbox address, lower case."))
    # Used for notices verified or not: an organisation's own list is better than silence.
    alternate_address = models.EmailField(
        blank=True, help_text=_("E-mail address elsewhere, for notices while the mail server is down.")
    )
    alternate_verified_at = models.DateTimeField(null=True, blank=True)
    phone = models.CharField(max_length=16, blank=True, help_text=_("For SMS, such as +49 30 123456."))
    phone_verified_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        verbose_name_plural = "people"
        indexes = [models.Index(fields=["account", "name", "id"], name="person_by_name")]

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>"

    def clean(self) -> None:
        """Put alternate addresses into their one form; refuse what cannot work or is not out of band."""
        super().clean()
        try:
            self.phone = addresses.phone(self.phone) if self.phone else ""
        except addresses.Unusable as unusable:
            raise ValidationError({"phone": str(unusable)}) from unusable
        try:
            if self.alternate_address:
                self.alternate_address = addresses.email(self.alternate_address)
                if self.account_id:
                    names = MailDomain.objects.filter(account=self.account_id).values_list("name", flat=True)
                    addresses.check_out_of_band(self.alternate_address, names)
        except addresses.Unusable as unusable:
            raise ValidationError({"alternate_address": str(unusable)}) from unusable


class Group(models.Model):
    """People of an account who are told things together."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="groups")
    name = models.CharField(max_length=80)
    people = models.ManyToManyField(Person, blank=True, related_name="groups")

    class Meta(TypedModelMeta):
        ordering = ("name", "pk")
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="group_name_once")]

    def __str__(self) -> str:
        return self.name


class Contact(models.Model):
    """An administrator who is alerted. How to reach them is in `notifications.ContactPoint`."""

    class Telling(models.TextChoices):
        IN_ORDER = "order", _("One after the other")
        AT_ONCE = "once", _("All at once")

    account = models.ForeignKey(Account, models.CASCADE, related_name="contacts")
    user = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="contacts")
    name = models.CharField(max_length=120)
    time_zone = TimeZoneField(help_text=_("Times in alerts are told in this zone."))
    # No choices: a language is only a file, and its name in no migration.
    language = models.CharField(
        max_length=16, default="en", help_text=_("Alerts and the portal are in this language.")
    )
    active = models.BooleanField(default=True)
    telling = models.CharField(max_length=8, choices=Telling, default=Telling.IN_ORDER)
    fall_through_minutes = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(240)],
        help_text=_("In order, an outage alert goes to the next one when nobody has seen it after so long."),
    )

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """One decision of a person, a rule or the clock. Append-only; each row's hash covers the one before.

    Numbered per account without gaps under the account lock. The feed of these rows is what timelines,
    history and webhooks read: a message's own progress is not here.
    """

    class By(models.TextChoices):
        USER = "user", _("User")
        CONTACT = "contact", _("Contact, by link")
        SCHEDULER = "scheduler", _("Scheduler")
        API = "api", _("API")
        PERSON = "person", _("Person, by link")

    account = models.ForeignKey(Account, models.PROTECT, related_name="audit")
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    by = models.CharField(max_length=16, choices=By)
    actor_id = models.BigIntegerField(
        null=True, blank=True, help_text=_("Primary key of the user or contact.")
    )
    actor_name = models.CharField(max_length=120)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(max_length=48, help_text=_("Such as event.activated or pause.started."))
    subject = models.CharField(
        max_length=160, blank=True, help_text=_("What was acted on, such as event:12.")
    )
    before = models.CharField(max_length=160, blank=True)
    after = models.CharField(max_length=160, blank=True)
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    # By the database itself, so that it cannot say something else than the action that the hash covers.
    topic = models.GeneratedField(
        expression=Left("action", StrIndex("action", Value(".")) - 1),
        output_field=models.CharField(max_length=48),
        db_persist=True,
    )
    request_key = models.CharField(max_length=64, null=True, blank=True)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta(TypedModelMeta):
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(fields=["account", "number"], name="audit_number_once"),
            models.UniqueConstraint(fields=["account", "request_key"], name="audit_request_once"),
        ]
        indexes = [
            models.Index(fields=["account", "subject", "number"]),
            # One for each filter of the history, in the order in which it is read.
            models.Index(fields=["account", "at", "number"], name="audit_by_time"),
            models.Index(fields=["account", "topic", "at", "number"], name="audit_by_topic"),
            models.Index(fields=["account", "actor_name", "at", "number"], name="audit_by_actor"),
            models.Index(fields=["account", "subject", "at", "number"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.action}"
