"""A sample as it travels: the window that a model answered to, for somebody to label.

The window goes as the bytes of a `.npy` file in base64, so that whoever reads
the JSON has its shape and dtype, and a reader in every language.
"""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from edgeml.arrays import Array
from edgeml.errors import InputError, ProtocolError
from edgeml.jsonread import Fields
from edgeml.npy import read_npy, write_npy
from edgeml.result import Result
from edgeml.sync.wire import bounded, clean, dump, finite


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One window as it travels, and what the model made of it.

    Attributes:
        seq: its number in the outbox.
        start_s: unix time of its first reading, by the device's clock.
        end_s: of its last.
        label: what the model said; None where it has no labels.
        score: how sure it was; None where that was no number.
        reason: why it was kept.
        npy: the raw window, as numpy's `.npy` has it.
    """

    seq: int
    start_s: float
    end_s: float
    label: str | None
    score: float | None
    reason: str
    npy: bytes

    @property
    def last(self) -> int:
        """The last sequence number this row accounts for: its own."""
        return self.seq

    def window(self) -> Array:
        """The raw window, as it was given to the model."""
        return read_npy(self.npy)


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


def parse_sample(row: Any, path: str) -> SampleRow:
    """Read a row of the `samples` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = Fields(row, path, ProtocolError, ignore_unknown=True)
    seq = bounded(fields.integer("seq"), f"{path}.seq", 1)
    label = fields.optional_text("label")
    score = fields.optional_number("score")
    try:
        npy = b64decode(fields.text("npy"), validate=True)
        read_npy(npy)
    except (binascii.Error, ValueError) as exc:
        raise ProtocolError(f"{path}.npy is no window: {exc}") from exc
    return SampleRow(
        seq,
        fields.number("start_s"),
        fields.number("end_s"),
        None if label is None else clean(label),
        score,
        clean(fields.text("reason")),
        npy,
    )
