"""How ready the account is, and what to do first."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from continuity_site.readiness.reads import readiness
from continuity_site.readiness.words import told


@require_GET
@account_required
def page(request: ConsoleRequest) -> HttpResponse:
    """The score, and each thing that is missing, what costs most first."""
    score = readiness(request.account, timezone.now())
    found = [told(finding) for finding in score.findings]
    context = {"score": score, "first": found[:1], "others": found[1:]}
    return render(request, "continuity_site/readiness.html", context)
