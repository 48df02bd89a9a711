"""Where providers tell what became of a message."""

from django.urls import re_path

from notifications.receipts import twilio_receipt

urlpatterns = [
    re_path(r"^twilio/(?P<message_id>\d{1,18}\.\d{1,18})/$", twilio_receipt, name="twilio-receipt")
]
