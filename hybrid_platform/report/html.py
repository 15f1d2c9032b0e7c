"""HTML back end: `report.html` of a session and the page of a verification matrix, each one self-contained file.

The templates escape everything, text from outside is made printable first, and the page forbids scripts and
requests by its own content security policy.
"""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform.evidence.matrix import Matrix
from hybrid_platform.report.attachments import IMAGE_TYPES
from hybrid_platform.report.blocks import NOT_REACHED, Badge, Picture, SessionReport
from hybrid_platform.report.model import proof_table
from hybrid_platform.security.redaction import to_printable

CELL_LIMIT, LINE_LIMIT = 400, 600


def render_report(report: SessionReport) -> str:
    """Return `report.html`."""
    return _render("session.html", report=report, not_reached=NOT_REACHED)


def matrix_page(matrix: Matrix) -> str:
    """Return the page of a verification matrix."""
    proved = len(CONTRACT_IDS) - len(matrix.unproved)
    return _render("matrix.html", matrix=matrix, table=proof_table(matrix.rows), total=len(CONTRACT_IDS), proved=proved)


def _render(name: str, **context: Any) -> str:
    templates = PackageLoader("hybrid_platform.report")
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "shown": _shown,
        "line": lambda text: to_printable(str(text), LINE_LIMIT),
        "uri": _image_uri,
    }
    environment.tests["badge"] = lambda value: isinstance(value, Badge)
    return environment.get_template(name).render(**context)


def _shown(value: object) -> str:
    """Return a value as one printable line; the template escapes it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return to_printable(str(value), CELL_LIMIT)


def _image_uri(picture: Picture) -> str:
    kind = IMAGE_TYPES[picture.title[picture.title.rindex(".") :].lower()]
    return f"data:{kind};base64,{base64.b64encode(picture.content).decode()}"
