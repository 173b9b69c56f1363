"""A window on its way out: copied as it was given, and made a row of the `samples` topic.

How such a row is read, on the other side and without numpy, says `edgeml.fleet.samplerows`.
"""

from base64 import b64encode
from math import isfinite

import numpy as np

from edgeml.arrays import Array
from edgeml.errors import InputError
from edgeml.npy import write_npy
from edgeml.result import Result
from edgeml.sync.wire import dump, finite


def sent_window(window: Array) -> Array:
    """A copy of a window in a dtype that travels: float64 becomes float32, which models take.

    Raises:
        InputError: it is no array of numbers.
    """
    array = np.asarray(window)
    if array.dtype.kind not in "fiu" or not array.size:
        raise InputError(f"a sample is an array of numbers; this is {array.dtype} {array.shape}")
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 4
    return np.array(array, np.float32 if wide else array.dtype, order="C")


def sample_row(seq: int, result: Result, window: Array, reason: str) -> bytes:
    """One window as a row of the `samples` topic.

    Raises:
        ValueError: a time is not finite, or the window has no numbers.
    """
    if not isfinite(result.start_s + result.end_s):
        raise ValueError(f"a window from {result.start_s} to {result.end_s} has no time")
    return dump({
        "seq": seq,
        "start_s": result.start_s,
        "end_s": result.end_s,
        "label": result.label,
        "score": finite(float(result.score)),
        "reason": reason,
        "npy": b64encode(write_npy(window)).decode("ascii"),
    })  # fmt: skip
