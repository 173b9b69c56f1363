"""Every scheme that was tried: how large, how good, how dear, and why it was or was not taken."""

from html import escape

from edgeml_converters.outcome import Candidate, Conversion
from edgeml_converters.report.plot import COLOURS, Plot, Point, padded
from edgeml_converters.report.table import number

_SMALLEST, _LARGEST = 5.0, 15.0
_FLOAT = "float model"


def candidates_chart(conversion: Conversion) -> str:
    """Size across, score up, and a disc the larger the dearer where the cost is known."""
    made = [(c, c.bytes, c.verdict) for c in conversion.candidates]
    drawn = [(c, size, verdict) for c, size, verdict in made if size and verdict]
    sizes = [size / 1024 for _, size, _ in drawn]
    scores = [score for _, _, v in drawn for score in (v.score, v.score_float)]
    x_low, x_high = padded([0.0, *sizes])
    plot = Plot(920, 280, max(x_low, 0), x_high, *padded(scores), "KiB", conversion.metric)
    points = []
    for i, (candidate, size, verdict) in enumerate(drawn):
        colour = "var(--good)" if candidate is conversion.chosen else COLOURS[i % len(COLOURS)]
        label = candidate.scheme + (", chosen" if candidate is conversion.chosen else "")
        radius = _radius(conversion, candidate)
        points.append(Point(size / 1024, verdict.score, radius, colour, label))
    float_score = conversion.verdict.score_float
    rule = plot.rule(float_score, "var(--quiet)", _FLOAT)
    parts = [rule, plot.points(points, (float_score, _FLOAT))]
    known = any(_cost(conversion, c) is not None for c, _, _ in drawn)
    key = "The larger a disc, the more it costs on the target." if known else ""
    return f'{plot.svg(parts)}<p class="quiet">{key}</p>'


def candidates_table(conversion: Conversion) -> str:
    """One row for each scheme, the chosen one marked."""
    heads = ["scheme", "bytes", conversion.metric, "drop", "95 %", "RMSE"]
    if conversion.metric != "agreement":
        heads.append("agreement")
    if conversion.estimates:
        heads.append("cost")
    head = "".join(f'<th class="name">{escape(name)}</th>' for name in [*heads, ""])
    rows = "".join(
        f'<tr class="{"chosen" if one is conversion.chosen else ""}">'
        + "".join(f'<td class="v">{escape(cell)}</td>' for cell in _cells(conversion, one))
        + f'<td class="why">{escape(one.reason)}</td></tr>'
        for one in conversion.candidates
    )
    return f'<table class="list"><tr>{head}</tr>{rows}</table>'


def _cells(conversion: Conversion, one: Candidate) -> list[str]:
    verdict, cost = one.verdict, _cost(conversion, one)
    with_agreement = conversion.metric != "agreement"
    shown = [one.scheme, "–" if one.bytes is None else f"{one.bytes:,}"]
    if verdict is None:
        shown += ["–"] * (5 if with_agreement else 4)
    else:
        interval = f"{number(verdict.drop_low, 2)} to {number(verdict.drop_high, 2)}"
        shown += [number(verdict.score), number(verdict.drop, 3), interval, number(verdict.rmse, 3)]
        if with_agreement:
            shown.append(f"{verdict.agreement:.2%}")
    if conversion.estimates:
        shown.append("–" if cost is None else f"{cost:,.0f}")
    return shown


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
