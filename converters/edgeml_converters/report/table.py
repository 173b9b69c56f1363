"""Numbers and plain tables as HTML."""

import math
from collections.abc import Sequence
from html import escape


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """A table of plain text.

    Args:
        heads: of the columns; empty for none.
        rows: as text.
        texts: so many columns from the left hold words; the others hold numbers.
    """
    head = "".join(
        f'<th class="{"name" if i < texts else "n"}">{escape(name)}</th>'
        for i, name in enumerate(heads)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"name" if i < texts else "n"}">{escape(cell)}</td>'
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
