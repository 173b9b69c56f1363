"""A sample as it travels: the window that a model answered to, for somebody to label.

The window goes as the bytes of a `.npy` file in base64, so that whoever reads
the JSON has its shape and dtype, and a reader in every language.
"""

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.errors import ProtocolError
from edgeml.jsonread import Fields
from edgeml.sync.wire import bounded, clean

if TYPE_CHECKING:
    from edgeml.arrays import Array


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

    def window(self) -> "Array":
        """The raw window, as it was given to the model."""
        from edgeml.npy import read_npy

        return read_npy(self.npy)


def parse_sample(row: Any, path: str) -> SampleRow:
    """Read a row of the `samples` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    # numpy takes more memory than an ingest, and many a fleet never sends a window.
    from edgeml.npy import read_npy

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
