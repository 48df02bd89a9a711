"""Receipts of providers. Whoever cannot sign one learns nothing here, not even that it exists."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from notifications import services
from notifications.transports import twilio


@csrf_exempt
def twilio_receipt(request: HttpRequest, message_id: str) -> HttpResponse:
    """What Twilio says of the message that was sent as `message_id`. Repeats do no harm."""
    if request.method != "POST" or request.content_type != "application/x-www-form-urlencoded":
        raise Http404
    signature = request.headers.get("X-Twilio-Signature", "")
    told = twilio.receipt(settings.BASE_URL + request.get_full_path(), dict(request.POST.lists()), signature)
    if told is None:
        raise Http404
    if told.delivered is not None:
        services.take_receipt(
            message_id,
            delivered=told.delivered,
            number_is_no_use=told.number_is_no_use,
            words=told.words,
            now=timezone.now(),
        )
    return HttpResponse(status=204)
