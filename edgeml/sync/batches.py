"""A batch, the unit of delivery, as it is written: one outbox, one model, many rows.

`edgeml.fleet.batches` reads it.
"""

from collections.abc import Sequence
from typing import Any, Final

from edgeml.result import ModelRef
from edgeml.sync.wire import VERSION, dump, model_document

GAP: Final = "gap"

MESSAGE_OVERHEAD_BYTES: Final = 512
"""Of a message, around its rows: the topic, the batch's own fields, MQTT's header."""

SMALLEST_PACKET_BYTES: Final = 1024


def encode_batch(outbox: str, model: ModelRef | None, rows: Sequence[bytes]) -> bytes:
    """One message from rows that are JSON already, separated by `,` and a line feed."""
    head: dict[str, Any] = {"v": VERSION, "outbox": outbox}
    if model is not None:
        head["model"] = model_document(model)
    return b"".join((dump(head)[:-1], b',"rows":[\n', b",\n".join(rows), b"\n]}"))


def too_small(packet_bytes: int) -> str | None:
    """Why nothing is sent to a broker of this limit; None where it takes enough.

    A row that a broker cannot take becomes a gap. Of such a broker that would be every row.
    """
    if packet_bytes >= SMALLEST_PACKET_BYTES:
        return None
    return (
        f"the broker takes packets of {packet_bytes} bytes and results need "
        f"{SMALLEST_PACKET_BYTES}; nothing is sent until its limit is raised"
    )
