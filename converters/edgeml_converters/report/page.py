"""The report's page, drawn from a `Conversion`: pure, a conversion goes in, HTML comes out.

From top to bottom in the order of the questions that somebody asks: may I ship
this, what else was there, what does it get wrong, which layer hurts, what does
the model see, what was it made from.
"""

from html import escape
from typing import Final

from edgeml.demo.page import confusion_table, document
from edgeml_converters.analysis import Analysis
from edgeml_converters.outcome import Conversion
from edgeml_converters.report.candidates import candidates_chart, candidates_table
from edgeml_converters.report.layers import layers_card
from edgeml_converters.report.table import number, plain_table
from edgeml_converters.report.window import window_card

_STYLE: Final = """
table.list td, table.list th { text-align:left; vertical-align:top }
table.list td.n { text-align:right }
tr.chosen td { background:color-mix(in srgb,var(--good) 12%,transparent) }
.warn { border-left:4px solid var(--amber) } .warn ul { margin:0; padding-left:18px }
.stages { display:grid; gap:14px; grid-template-columns:repeat(auto-fit,minmax(280px,1fr)) }
.stages figure { margin:0 }
.stages b { display:inline; font-size:inherit; color:var(--ink) }
figcaption { color:var(--quiet); font-size:13px; margin-bottom:4px;
  overflow-wrap:anywhere }
img { image-rendering:pixelated; border:1px solid var(--line) }
img.map { width:100%; height:150px }
img.picture { height:220px; max-width:100%; object-fit:contain }
table.list td.v { white-space:nowrap } td.why { overflow-wrap:anywhere; min-width:210px }
code { font-size:13px; overflow-wrap:anywhere }
.meter { display:inline-block; height:9px; border-radius:3px; vertical-align:middle }
"""

_MOST_CHANNELS: Final = 8


def render(conversion: Conversion, name: str, version: int) -> str:
    """The whole page.

    Args:
        conversion: what came of it.
        name: the bundle's name.
        version: its version.

    Returns:
        HTML with its style and drawings inside; it loads nothing.
    """
    analysis = conversion.analysis
    parts = [
        _lead(conversion),
        _warnings(conversion),
        _cards(conversion),
        _card("Candidates", candidates_chart(conversion) + candidates_table(conversion)),
        _confusions(conversion),
        layers_card(analysis.layers, analysis.hurts),
        window_card(analysis.window),
        _card("Is it the same model?", _faithfulness(analysis)),
        '<div class="two">',
        _card("Operators of the chosen file", _operators(analysis)),
        _card("What calibration saw", _channels(analysis)),
        "</div>",
        _cost(conversion),
        _card("What it was made from", _provenance(analysis)),
    ]
    return document(f"{name} v{version}, converted", [part for part in parts if part], _STYLE)


def _lead(conversion: Conversion) -> str:
    verdict = conversion.verdict
    size = len(conversion.tflite)
    sizes = {one.scheme: one.bytes for one in conversion.candidates}
    whole = sizes.get("float32")
    share = f", {size / whole:.0%} of the float file" if whole else ""
    kept = (
        f"{escape(conversion.metric)} {number(verdict.score)} beside {number(verdict.score_float)} "
        f"of the float model; the true loss lies between {number(verdict.drop_low, 2)} and "
        f"{number(verdict.drop_high, 2)} (95 %)"
    )
    return f'<p class="lead"><b>{conversion.chosen.scheme}</b>, {size:,} bytes{share}: {kept}.</p>'


def _warnings(conversion: Conversion) -> str:
    if not conversion.warnings:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in conversion.warnings)
    return f'<div class="card warn"><h2>Before you trust it</h2><ul>{lines}</ul></div>'


def _cards(conversion: Conversion) -> str:
    verdict = conversion.verdict
    cards = [
        ("scheme", conversion.chosen.scheme),
        ("model", f"{len(conversion.tflite):,} B"),
        ("whole file", f"{len(conversion.bundle):,} B"),
        (conversion.metric, number(verdict.score)),
        ("agrees with float", f"{verdict.agreement:.2%}"),
        ("RMSE", number(verdict.rmse)),
    ]
    said = conversion.chosen_estimate
    if said is not None and said.figures:
        label, value = next(iter(said.figures.items()))
        cards.append((f"{label.replace('_', ' ')}, {said.target}", f"{value:,.0f}"))
    return (
        '<div class="row">'
        + "".join(
            f'<div class="card"><span class="quiet">{escape(label)}</span>'
            f"<b>{escape(value)}</b></div>"
            for label, value in cards
        )
        + "</div>"
    )


def _confusions(conversion: Conversion) -> str:
    analysis = conversion.analysis
    if analysis.confusion_float is None or analysis.confusion_chosen is None:
        return ""
    tables = "".join(
        _card(title, confusion_table(matrix.labels, matrix.counts))
        for title, matrix in (
            ("Confusion matrix, float model", analysis.confusion_float),
            (f"Confusion matrix, {conversion.chosen.scheme}", analysis.confusion_chosen),
        )
    )
    return f'<div class="two">{tables}</div>'


def _channels(analysis: Analysis) -> str:
    rows = [
        [c.name, c.unit, *(number(v, 3) for v in (c.low, c.p01, c.median, c.p99, c.high))]
        for c in analysis.channels
    ]
    heads = ("channel", "unit", "lowest", "1 %", "median", "99 %", "highest")
    if len(rows) <= _MOST_CHANNELS:
        return plain_table(heads, rows, 2)
    return (
        plain_table(heads, rows[:_MOST_CHANNELS], 2)
        + f"<details><summary>all {len(rows)} channels</summary>{plain_table(heads, rows, 2)}"
        "</details>"
    )


def _operators(analysis: Analysis) -> str:
    rows = [[name, str(count)] for name, count in analysis.operators.items()]
    return plain_table(("operator", "times"), rows, 1)


def _faithfulness(analysis: Analysis) -> str:
    rows = [
        [
            *(c.scheme, c.data, str(c.windows), number(c.rmse, 3), number(c.largest, 3)),
            f"{c.agreement:.2%}",
        ]
        for c in analysis.comparisons
    ]
    heads = ("file", "on", "windows", "RMSE", "largest difference", "agreement")
    return (
        '<p class="quiet">Each file beside the model in its own framework, outputs dequantised.</p>'
        + plain_table(heads, rows, 2)
    )


def _cost(conversion: Conversion) -> str:
    said = conversion.chosen_estimate
    if said is None:
        return ""
    rows = [[name.replace("_", " "), f"{value:,.6g}"] for name, value in said.figures.items()]
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in said.remarks)
    command = f"<p>For more: <code>{escape(said.command)}</code></p>" if said.command else ""
    told = f"Source: {said.source}" if rows else f"Not estimated: {said.why_none}"
    figures = plain_table(("figure", "value"), rows, 1) if rows else ""
    return _card(
        f"Cost on {said.target}",
        f'{figures}<p class="quiet">{escape(told)}.</p><ul>{remarks}</ul>{command}',
    )


def _provenance(analysis: Analysis) -> str:
    p = analysis.provenance
    labelled = "labelled" if p.labelled else "without labels"
    rows = [
        ["source", f"{p.source} ({p.framework})"],
        ["its SHA-256", p.source_digest or "an object in memory"],
        ["calibration", f"{p.calibration_windows} windows, SHA-256 {p.calibration_digest}"],
        ["evaluation", f"{p.evaluation_windows} {labelled}, SHA-256 {p.evaluation_digest}"],
        ["options", ", ".join(f"{k} {v}" for k, v in p.options.items() if v is not None)],
        ["made with", ", ".join(f"{key} {value}" for key, value in p.versions.items())],
        ["dated", p.created],
    ]
    return plain_table((), rows, 2)


def _card(title: str, body: str) -> str:
    return f'<div class="card"><h2>{escape(title)}</h2>{body}</div>'
