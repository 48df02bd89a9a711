"""The demo: break the mail server, and read the alerts as they would look. Only for the demo account."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.access import ConsoleRequest, account_required, administrator_required, back
from accounts.models import Person
from continuity_site.demo import control, letters
from notifications.letters import letter_response
from notifications.models import DemoMessage

MODES = {
    "up": gettext_lazy("Running"),
    "slow": gettext_lazy("Slow"),
    "refuse4": gettext_lazy("Refuses for now (4xx)"),
    "refuse5": gettext_lazy("Refuses for good (5xx)"),
    "stopped": gettext_lazy("Stopped"),
}
BUTTONS = {
    "up": gettext_lazy("Start"),
    "stopped": gettext_lazy("Stop the mail server"),
    "slow": gettext_lazy("Slow"),
    "refuse4": gettext_lazy("Refuse 4xx"),
    "refuse5": gettext_lazy("Refuse 5xx"),
}
View = Callable[..., HttpResponse]


def demo_only(view: View) -> View:
    """For an account that is not the demo these pages do not exist."""

    @wraps(view)
    def checked(request: ConsoleRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not request.account.is_demo:
            raise Http404
        return view(request, *args, **kwargs)

    return checked


def controls() -> dict[str, object]:
    """What the buttons of the demo mail server need."""
    mode = str(control.get_mode())
    return {"demo_mode": mode, "demo_word": MODES[mode], "demo_buttons": BUTTONS.items()}


@require_GET
@account_required
@demo_only
def page(request: ConsoleRequest) -> HttpResponse:
    """The demo mail server's controls and mailbox, and the alert inbox."""
    alerts = DemoMessage.objects.filter(account=request.account).order_by("-at", "-pk")
    return render(
        request,
        "continuity_site/demo.html",
        {
            **controls(),
            "received": control.received(20),
            "count": control.count(),
            "alerts": list(alerts[:20]),
        },
    )


@require_POST
@administrator_required
@demo_only
def server(request: ConsoleRequest) -> HttpResponse:
    """Make the demo mail server behave so."""
    mode = request.POST.get("mode", "")
    if mode not in MODES:
        raise Http404
    control.set_mode(mode)
    messages.success(request, _("Demo mail server: %(mode)s.") % {"mode": MODES[mode]})
    return back(request, "demo")


@require_POST
@administrator_required
@demo_only
def send(request: ConsoleRequest) -> HttpResponse:
    """Send test mail to the gateway: one message, or fifty."""
    number = 50 if request.POST.get("number") == "50" else 1
    people = list(
        Person.objects.filter(account=request.account).order_by("pk").values_list("address", flat=True)
    )
    if not people:
        messages.error(request, _("There is nobody to send it to. Add people to the demo account."))
        return back(request, "demo")
    try:
        sent = letters.send(people, number)
    except OSError as error:
        messages.error(request, _("The gateway did not take the test mail: %(error)s") % {"error": error})
    else:
        word = ngettext("The gateway took one message.", "The gateway took %(sent)s messages.", sent)
        messages.success(request, word % {"sent": sent})
    return back(request, "demo")


@require_GET
@account_required
@demo_only
def letter(request: ConsoleRequest, pk: int) -> HttpResponse:
    """An alert e-mail's HTML as a mail program shows it: inline styles, and nothing but."""
    found = get_object_or_404(DemoMessage, pk=pk, account=request.account)
    return letter_response(found.html, found.text)
