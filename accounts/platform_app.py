from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class PlatformAdminConfig(AdminConfig):
    """Django's admin, for the platform administrator only."""

    default_site = "accounts.platform.PlatformSite"

    def ready(self) -> None:
        """Register every app's pages, without those of django-otp: they show the secrets of everybody."""
        super().ready()
        from django_otp.plugins.otp_static.models import StaticDevice
        from django_otp.plugins.otp_totp.models import TOTPDevice

        admin.site.unregister([StaticDevice, TOTPDevice])
