"""Reads what steps have in common out of their JSON: constants, choices, bounded whole numbers.

A constant may be one number, one for each channel (the last axis) or one for
each element; here alone it is decided which of the three a list is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError, nearest
from edgeml.jsonread import Fields
from edgeml.preprocess.stage import Array, Signal


def constant(fields: Fields, key: str, signal: Signal, default: float | None = None) -> Wide:
    """A finite number, or a list of them: one a channel, or nested like the window itself.

    Returns:
        float64 of shape (), (channels,) or the window's.

    Raises:
        PreprocessError: missing, not numbers, not finite in float32, or of a wrong length.
    """
    raw = fields.value(key)
    if isinstance(raw, np.ndarray):
        raise PreprocessError(f"{fields.path}.{key} is an array; give the list that JSON holds")
    if not isinstance(raw, list):
        return _checked(np.float64(fields.number(key, default=default)), fields, key)
    try:
        values = np.array(_numbers(raw), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PreprocessError(
            f"{fields.path}.{key} should be a number, or a list of numbers"
        ) from None
    if values.shape not in {signal.shape[-1:], signal.shape}:
        raise PreprocessError(
            f"{fields.path}.{key} has the shape {list(values.shape)}; the step is given "
            f"{list(signal.shape)}, so it should be a number, {signal.shape[-1]} numbers "
            "(one a channel), or a list of that whole shape"
        )
    return _checked(values, fields, key)


def operand(values: Wide, signal: Signal) -> Array:
    """A constant as float32, spread over the last two axes so that inner loops are long."""
    narrow = values.astype(np.float32)
    if narrow.ndim == 0 or narrow.shape == signal.shape:
        return narrow
    return np.ascontiguousarray(np.broadcast_to(narrow, signal.shape[-2:]))


def varies_in_time(values: Wide, signal: Signal) -> bool:
    """Whether a constant differs between rows, so that overlapping windows disagree on a row."""
    return values.ndim == len(signal.shape)


def choice(fields: Fields, key: str, options: Sequence[str], default: str | None = None) -> str:
    """One of a few words."""
    return known(f"{fields.path}.{key}", fields.text(key, default=default), options)


def known(path: str, word: str, options: Sequence[str]) -> str:
    """The word itself, checked to be one of the options."""
    if word not in options:
        raise PreprocessError(
            f"{path} is {word!r}; it should be one of {', '.join(options)}{nearest(word, options)}"
        )
    return word


def whole(fields: Fields, key: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number from `low` to `high`, both included."""
    value = fields.integer(key, default=default)
    if not low <= value <= high:
        raise PreprocessError(f"{fields.path}.{key} is {value}; it should be {low} to {high}")
    return value


def indices(fields: Fields, key: str, values: Sequence[int], size: int) -> tuple[int, ...]:
    """Checks that whole numbers are indices into an axis of `size`, at least one of them."""
    if not values:
        raise PreprocessError(f"{fields.path}.{key} is empty; it should name at least one channel")
    for value in values:
        if not 0 <= value < size:
            raise PreprocessError(
                f"{fields.path}.{key} names channel {value}; there are {size}, 0 to {size - 1}"
            )
    return tuple(values)


def rate(fields: Fields, signal: Signal) -> float:
    """The sample rate at this step, for the steps that speak of hertz."""
    if signal.sample_rate_hz is None:
        raise PreprocessError(
            f"{fields.path} needs a sample rate: set inputs.sample_rate_hz, and keep time on "
            "axis 0 in the steps before"
        )
    return signal.sample_rate_hz


def _checked(values: Wide | np.float64, fields: Fields, key: str) -> Wide:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.abs(array) <= np.finfo(np.float32).max):
        raise PreprocessError(f"{fields.path}.{key} holds a number that is not finite in float32")
    return array


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)
