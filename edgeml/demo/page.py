"""What every page that edgeml writes shares: its style, its frame, and the matrix of a classifier.

A page is one HTML file that loads nothing.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

_STYLE: Final = """
:root { --ink:#1d2733; --quiet:#65717e; --line:#dfe4ea; --ground:#f6f7f9; --card:#fff;
  --good:#12805c; --bad:#c0392b; --blue:#2264c7; --amber:#d9822b; }
@media (prefers-color-scheme: dark) { :root { --ink:#e8edf2; --quiet:#97a3b0; --line:#2c3642;
  --ground:#12171d; --card:#1a2129; --good:#3ecf99; --bad:#ff7a6b; --blue:#6ba6ff;
  --amber:#f0a85c; } }
* { box-sizing:border-box } body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
main { max-width:980px; margin:0 auto; padding:32px 20px 60px }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:17px; margin:0 0 12px }
p.lead { font-size:18px; margin:0 0 24px } .quiet { color:var(--quiet) }
.good { color:var(--good) } .bad { color:var(--bad) }
.row { display:grid; gap:14px; grid-template-columns:repeat(auto-fit,minmax(130px,1fr)) }
.row, .two { margin-bottom:14px } .row .card, .two .card { margin:0 }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:16px;
  margin-bottom:14px; overflow-x:auto }
.card b { display:block; font-size:25px; line-height:1.2; font-variant-numeric:tabular-nums }
table { border-collapse:collapse; font-variant-numeric:tabular-nums } td,th { padding:5px 7px;
  text-align:right; font-weight:400 } th { color:var(--quiet) } td.name,th.name { text-align:left }
td.cell { padding:5px 4px; text-align:center; border:2px solid var(--card); border-radius:6px }
svg { width:100%; height:auto; display:block } svg text { fill:var(--quiet); font-size:11px }
svg.wide { min-width:640px }
.two { display:grid; gap:14px; grid-template-columns:repeat(auto-fit,minmax(min(360px,100%),1fr)) }
.legend span { display:inline-block; margin-right:14px } .legend .key { width:11px; height:11px;
  border-radius:3px; margin-right:5px }
"""


_NARROW: Final = 640
"""A drawing of more units than this would be too small to read on a telephone."""


def document(title: str, parts: Sequence[str], style: str = "") -> str:
    """A whole page.

    Args:
        title: its heading, as plain text.
        parts: HTML, one after another.
        style: more CSS than every page has.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head><body><main>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</main></body></html>",
        ]
    )


def drawing(width: int, height: int, parts: Sequence[str]) -> str:
    """An SVG of so many units, as wide as its card; a wide one is scrolled on a narrow screen.

    Args:
        width: of its coordinates.
        height: of its coordinates.
        parts: its elements, in order.
    """
    wide = ' class="wide"' if width > _NARROW else ""
    return f'<svg{wide} viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def legend(colours: Sequence[tuple[str, str]]) -> str:
    """What each colour of a drawing stands for: names, each with its CSS colour."""
    marks = "".join(
        f'<span><span class="key" style="background:{colour}"></span>{escape(name)}</span>'
        for name, colour in colours
    )
    return f'<div class="quiet legend">{marks}</div>'


def confusion_table(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """What a classifier said, a row for each true class, coloured by how often.

    Args:
        labels: of rows and columns.
        counts: windows; a row for each true class, a column for each that was said.
    """
    most = max((count for row in counts for count in row), default=1)
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for true, row in zip(labels, counts, strict=True):
        cells = []
        for said, count in zip(labels, row, strict=True):
            colour = "--good" if true == said else "--bad"
            share = round(18 + 62 * count / most) if count else 0
            cells.append(
                f'<td class="cell" style="background:color-mix(in srgb,var({colour}) {share}%,'
                f'transparent)">{count}</td>'
            )
        rows.append(f'<tr><td class="name">{escape(true)}</td>{"".join(cells)}</tr>')
    return f'<table><tr><th class="name">recorded ↓ said →</th>{head}</tr>{"".join(rows)}</table>'
