"""Steps for images, (height, width) or (height, width, channels): resize, crop, color_order.

Pixels are little squares and their centres lie at halves: output pixel i takes
the place (i + 0.5) * size / wanted - 0.5 among the source pixels. This is the
half-pixel-centres convention of TensorFlow 2, Pillow, OpenCV's linear modes and
PyTorch's align_corners=False; it is the only one here.
"""

from collections.abc import Callable

import numpy as np

from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.gather import area_taps, bilinear_taps, nearest_index, weighted_sum
from edgeml.preprocess.params import choice, whole
from edgeml.preprocess.stage import Array, Index, Signal, Stage, signal, unchanged

METHODS = ("nearest", "bilinear", "area")
ORDERS = ("rgb", "bgr", "gray")
MAX_SIDE = 1 << 14

_LUMA = {"r": np.float32(0.299), "g": np.float32(0.587), "b": np.float32(0.114)}
"""The weights of ITU-R BT.601."""


def resize(fields: Fields, given: Signal) -> Stage:
    """To `height` by `width` pixels, by `method` (bilinear if left out).

    nearest: the pixel that holds the centre. bilinear: between the four nearest
    centres, with no smoothing beforehand, so shrink by area instead. area: the mean
    of what the output pixel covers, fractions of pixels counted.
    """
    _check_image(fields, given)
    wanted = whole(fields, "height", 1, MAX_SIDE), whole(fields, "width", 1, MAX_SIDE)
    method = choice(fields, "method", METHODS, default="bilinear")
    output = signal(fields, (*wanted, *given.shape[2:]))
    height, width = given.shape[:2]
    channels = given.shape[2] if len(given.shape) == 3 else 1
    down = _along(method, height, wanted[0], width * channels)
    across = _along(method, width, wanted[1], channels)
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        y = down(x.reshape(-1, height, width * channels))
        y = across(y.reshape(-1, width, channels))
        return y.reshape(x.shape[: x.ndim - rank] + output.shape)

    return Stage(output, run, fresh=wanted != (height, width))


def crop(fields: Fields, given: Signal) -> Stage:
    """The part `height` by `width` at row `top` and column `left`; the middle if left out."""
    _check_image(fields, given)
    rows, columns = given.shape[:2]
    height, width = whole(fields, "height", 1, rows), whole(fields, "width", 1, columns)
    top = whole(fields, "top", 0, rows - height, default=(rows - height) // 2)
    left = whole(fields, "left", 0, columns - width, default=(columns - width) // 2)
    output = signal(fields, (height, width, *given.shape[2:]))
    inside: Index = (
        Ellipsis,
        slice(top, top + height),
        slice(left, left + width),
        *(slice(None) for _ in given.shape[2:]),
    )
    return Stage(output, lambda x, _: x[inside], fresh=False)


def color_order(fields: Fields, given: Signal) -> Stage:
    """The channels `from` one order `to` another: rgb and bgr either way, or to gray.

    Gray is one channel, 0.299 r + 0.587 g + 0.114 b (ITU-R BT.601).
    """
    before = choice(fields, "from", ORDERS[:2])
    after = choice(fields, "to", ORDERS)
    if len(given.shape) != 3 or given.shape[2] != 3:
        raise PreprocessError(
            f"{fields.path} is given {list(given.shape)}; it should be [height, width, 3]"
        )
    if before == after:
        return Stage(given, unchanged, fresh=False)
    if after != "gray":
        return Stage(given, _reversed_channels)
    luma = [_LUMA[letter] for letter in before]

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        y: Array = x[..., 0:1] * luma[0]
        y += x[..., 1:2] * luma[1]
        y += x[..., 2:3] * luma[2]
        return y

    return Stage(signal(fields, (*given.shape[:2], 1)), run)


def _reversed_channels(x: Array, out: Array | None) -> Array:  # noqa: ARG001
    """Channel by channel: a third of what numpy takes to copy a reversed view."""
    y: Array = np.empty(x.shape, dtype=np.float32)
    for channel in range(3):
        y[..., channel] = x[..., 2 - channel]
    return y


def _along(method: str, size: int, wanted: int, row: int) -> Callable[[Array], Array]:
    if size == wanted:
        return lambda x: x
    if method == "nearest":
        index = nearest_index(size, wanted)
        return lambda x: np.take(x, index, axis=1)
    taps = bilinear_taps(size, wanted) if method == "bilinear" else area_taps(size, wanted)
    return weighted_sum(taps, row)


def _check_image(fields: Fields, given: Signal) -> None:
    if len(given.shape) not in {2, 3}:
        raise PreprocessError(
            f"{fields.path} is given {list(given.shape)}; it should be [height, width] or "
            "[height, width, channels]"
        )
