"""One real window as it is prepared: raw from the sensor, then after every step."""

import json
from html import escape

import numpy as np
import numpy.typing as npt

from edgeml_converters.analysis import Stage, WindowShown
from edgeml_converters.report.picture import data_uri, shades
from edgeml_converters.report.plot import COLOURS, Plot, padded

_MOST_LINES = 8
_MOST_POINTS = 400
_PICTURE_CHANNELS = (1, 3)
_LONGEST_PARAMS = 120

Floats = npt.NDArray[np.float32]


def window_card(window: WindowShown) -> str:
    """The stages side by side."""
    label = f", which is {escape(window.label)}" if window.label else ""
    figures = "".join(_figure(stage) for stage in window.stages)
    return (
        '<div class="card"><h2>What the model sees</h2>'
        f'<p class="quiet">Window {window.index} of the evaluation data{label}: raw, then after '
        f'each step of its preprocessing.</p><div class="stages">{figures}</div></div>'
    )


def _figure(stage: Stage) -> str:
    params = json.dumps(dict(stage.params), default=str) if stage.params else ""
    short = params if len(params) <= _LONGEST_PARAMS else params[: _LONGEST_PARAMS - 1] + "…"
    shape = " x ".join(map(str, stage.values.shape)) or "1"
    caption = f"<b>{escape(stage.step)}</b> {escape(short)} [{shape}]"
    return f"<figure><figcaption>{caption}</figcaption>{_drawing(stage.values)}</figure>"


def _drawing(values: Floats) -> str:
    if values.ndim == 3 and values.shape[2] in _PICTURE_CHANNELS:
        pixels = shades(values)
        return _image(pixels[:, :, 0] if values.shape[2] == 1 else pixels, "picture")
    if values.ndim <= 1:
        return _lines(values.reshape(-1, 1))
    flat = values.reshape(len(values), -1)
    if flat.shape[1] <= _MOST_LINES:
        return _lines(flat)
    # Time runs to the right and the first feature is at the bottom, as in a spectrogram.
    return _image(shades(flat).T[::-1], "map")


def _image(pixels: npt.NDArray[np.uint8], kind: str) -> str:
    return f'<img class="{kind}" alt="" src="{data_uri(np.ascontiguousarray(pixels))}">'


def _lines(values: Floats) -> str:
    """A line for each column; of a long window every n-th value."""
    step = max(1, -(-len(values) // _MOST_POINTS))
    finite = np.nan_to_num(values[::step].astype(float))
    plot = Plot(440, 170, 0, max(len(values) - 1, 1), *padded(finite.reshape(-1).tolist(), 0.06))
    return plot.svg(
        [
            plot.line(column.tolist(), COLOURS[i % len(COLOURS)], step=step)
            for i, column in enumerate(finite.T)
        ]
    )
