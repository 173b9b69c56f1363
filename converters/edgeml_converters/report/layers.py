"""Which layer hurts: the signal to noise ratio down the network, and what each layer loses."""

import math
from collections.abc import Sequence
from html import escape

from edgeml_converters.analysis import Layer
from edgeml_converters.report.plot import Plot, Point
from edgeml_converters.report.table import number

_TOP_DB = 60.0
_METER_PX = 120


def layers_card(layers: Sequence[Layer], hurts: str | None) -> str:
    """The card, or nothing where the files could not be matched or nothing was lost anywhere."""
    if not any(math.isfinite(layer.sqnr_db) for layer in layers):
        return ""
    levels = [min(layer.sqnr_db, _TOP_DB) for layer in layers]
    plot = Plot(920, 190, 0, max(len(layers) - 1, 1), min(0, *levels), _TOP_DB, "layer", "SQNR, dB")
    points = []
    for i, (layer, level) in enumerate(zip(layers, levels, strict=True)):
        worst = layer.name == hurts
        label = f"{layer.name} loses {layer.fall_db:.1f} dB" if worst else ""
        points.append(Point(i, level, 6 if worst else 3, _colour(worst), label))
    parts = [plot.line(levels, "var(--blue)", 2), plot.points(points)]
    heads = ("#", "operator", "layer", "type", "SQNR, dB", "lost here", "seen", "held")
    head = "".join(f'<th class="name">{name}</th>' for name in heads)
    rows = "".join(_row(i, layer, hurts) for i, layer in enumerate(layers))
    return (
        '<div class="card"><h2>Error from layer to layer</h2>'
        '<p class="quiet">Signal to quantisation noise of what each layer gives, '
        f"from real tensors; above {_TOP_DB:.0f} dB is drawn as {_TOP_DB:.0f}.</p>{plot.svg(parts)}"
        f'<details><summary>all {len(layers)} layers</summary><table class="list"><tr>{head}</tr>'
        f"{rows}</table></details></div>"
    )


def _row(i: int, layer: Layer, hurts: str | None) -> str:
    lost = max(layer.fall_db, 0.0) if math.isfinite(layer.fall_db) else 0.0
    width = round(min(lost / 30, 1) * _METER_PX)
    colour = _colour(layer.name == hurts)
    cells = [
        str(i),
        escape(layer.operator),
        f"<code>{escape(layer.name)}</code>",
        escape(layer.dtype),
        number(layer.sqnr_db),
        f'<span class="meter" style="width:{width}px;background:{colour}"></span> {lost:.1f}',
        _range(layer.seen),
        "–" if layer.held is None else _range(layer.held),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _range(limits: tuple[float, float]) -> str:
    return f"{number(limits[0])} to {number(limits[1])}"


def _colour(worst: bool) -> str:
    return "var(--bad)" if worst else "var(--blue)"
