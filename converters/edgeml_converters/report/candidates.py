"""Every scheme that was tried: how large, how good, how dear, and why it was or was not taken."""

from html import escape

from edgeml_converters.outcome import Candidate, Conversion
from edgeml_converters.report.plot import COLOURS, Plot, padded
from edgeml_converters.report.table import number

_SMALLEST, _LARGEST = 5.0, 15.0
_LIFTS = 4


def candidates_chart(conversion: Conversion) -> str:
    """Size across, score up, and a disc the larger the dearer where the cost is known."""
    made = [(c, c.bytes, c.verdict) for c in conversion.candidates]
    drawn = [(c, size, verdict) for c, size, verdict in made if size and verdict]
    sizes = [size / 1024 for _, size, _ in drawn]
    scores = [score for _, _, v in drawn for score in (v.score, v.score_float)]
    x_low, x_high = padded([0.0, *sizes])
    plot = Plot(920, 280, max(x_low, 0), x_high, *padded(scores), "KiB", conversion.metric)
    parts = []
    if drawn:
        parts.append(plot.rule(drawn[0][2].score_float, "var(--quiet)", "float model"))
    for i, (candidate, size, verdict) in enumerate(drawn):
        colour = "var(--good)" if candidate is conversion.chosen else COLOURS[i % len(COLOURS)]
        label = candidate.scheme + (", chosen" if candidate is conversion.chosen else "")
        radius = _radius(conversion, candidate)
        parts.append(plot.point(size / 1024, verdict.score, radius, colour, label, i % _LIFTS))
    known = any(_cost(conversion, c) is not None for c, _, _ in drawn)
    key = "The larger a disc, the more it costs on the target." if known else ""
    return f'{plot.svg(parts)}<p class="quiet">{key}</p>'


def candidates_table(conversion: Conversion) -> str:
    """One row for each scheme, the chosen one marked."""
    heads = ("scheme", "bytes", conversion.metric, "drop", "95 %", "RMSE", "agreement", "cost", "")
    head = "".join(f'<th class="name">{escape(name)}</th>' for name in heads)
    rows = "".join(
        f'<tr class="{"chosen" if one is conversion.chosen else ""}">'
        + "".join(f'<td class="name">{escape(cell)}</td>' for cell in _cells(conversion, one))
        + "</tr>"
        for one in conversion.candidates
    )
    return f'<table class="list"><tr>{head}</tr>{rows}</table>'


def _cells(conversion: Conversion, one: Candidate) -> list[str]:
    verdict = one.verdict
    cost = _cost(conversion, one)
    shown = [
        one.scheme + (f" ({len(one.in_float)} layers in float)" if one.in_float else ""),
        "–" if one.bytes is None else f"{one.bytes:,}",
    ]
    if verdict is None:
        shown += ["–"] * 5
    else:
        interval = f"{number(verdict.drop_low)} to {number(verdict.drop_high)}"
        shown += [number(verdict.score), number(verdict.drop), interval]
        shown += [number(verdict.rmse), f"{verdict.agreement:.2%}"]
    return [*shown, "–" if cost is None else f"{cost:,.0f}", one.reason]


def _cost(conversion: Conversion, candidate: Candidate) -> float | None:
    """The first figure of the candidate's estimate: instructions, or operators left on the CPU."""
    said = conversion.estimates.get(candidate.scheme)
    if said is None:
        return None
    return said.figures.get("instructions", said.figures.get("cycles"))


def _radius(conversion: Conversion, candidate: Candidate) -> float:
    costs = [_cost(conversion, one) for one in conversion.candidates]
    known = [cost for cost in costs if cost is not None]
    mine = _cost(conversion, candidate)
    if mine is None or not known or max(known) <= 0:
        return 8.0
    return float(_SMALLEST + (_LARGEST - _SMALLEST) * (mine / max(known)) ** 0.5)
