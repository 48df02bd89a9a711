"""CSV files on pages: uploaded, told about, downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.csv_files import MOST_BYTES, MOST_LINES, Unreadable, written
from accounts.services import Refused

ENCODINGS = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "cp1252": "Windows-1252"}
SEPARATORS = {
    ",": gettext_lazy("comma"),
    ";": gettext_lazy("semicolon"),
    "\t": gettext_lazy("tab"),
    "|": gettext_lazy("bar"),
}


def uploaded(request: HttpRequest) -> tuple[str, bytes]:
    """Name and content of the file that a form sent. Raises Refused for none, Unreadable for too much."""
    file = request.FILES.get("file")
    if file is None or not file.size:
        raise Refused(_("Choose a file first."))
    if file.size > MOST_BYTES:
        raise Unreadable("too_long")
    return "".join(c if c.isprintable() else " " for c in file.name or "")[-120:], file.read()


def unreadable_words(told: Unreadable) -> str:
    """Why a file cannot be used, and what to do."""
    words = {
        "binary": _("This is not a CSV file. In a spreadsheet, choose “Save as” and CSV, then upload that."),
        "too_long": _("The file has more than %(lines)s lines. Import it in parts.")
        % {"lines": f"{MOST_LINES:,}"},
        "quote": _("The quotation mark that opens in line %(line)s is not closed. Correct that line.")
        % {"line": told.line},
        "empty": _("The file is empty."),
        "headings": _(
            "The first line must name the columns, and one of them must be “address”, “mail” or the like."
        ),
    }
    return words[told.why]


def csv_response(name: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> StreamingHttpResponse:
    """A download, written while it is read."""
    response = StreamingHttpResponse(written(headings, rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
