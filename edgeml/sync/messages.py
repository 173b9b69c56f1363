"""What is said beside the batches: how far the store is, whether a device is there, how it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from edgeml.errors import ProtocolError
from edgeml.jsonread import Fields
from edgeml.result import ModelRef
from edgeml.sync.spans import Range, Spans
from edgeml.sync.wire import (
    MAX_SEQ,
    VERSION,
    bounded,
    check_version,
    dump,
    load,
    model_document,
    plain,
    shown,
)

MAX_RANGES: Final = 64
"""An acknowledgement names at most so many ranges above its mark, the lowest ones."""


@dataclass(frozen=True, slots=True)
class Ack:
    """How far the store has everything of one outbox.

    Attributes:
        outbox: which outbox it speaks of.
        mark: everything from 1 to here is in the store, as a row or as a gap.
        above: ranges beyond the mark that the store has, too; the lowest ones where there are many.
        ingest: names one connection of one ingest.
        greeting: this ingest has just come; what was in flight may have died with another.
    """

    outbox: str
    mark: int
    above: Spans
    ingest: str
    greeting: bool = False

    def horizon(self, otherwise: int) -> int:
        """The greatest number this message judges; `otherwise` where it names every range."""
        return otherwise if self.names_all else self.above.ranges[-1][1]

    @property
    def names_all(self) -> bool:
        """Whether what it does not name is not in the store."""
        return len(self.above.ranges) < MAX_RANGES

    @classmethod
    def parse(cls, payload: bytes) -> "Ack":
        """Read an acknowledgement.

        Raises:
            ProtocolError: it is not one of this version.
        """
        return cls.of(Fields(load(payload), "ack", ProtocolError, ignore_unknown=True))

    def joined(self, other: "Ack | None") -> "Ack":
        """What this one and an earlier one of the same outbox say together.

        Only this one where one of them could not name everything, because that which is not named
        would not show any more.
        """
        if other is None or not (self.names_all and other.names_all):
            return self
        mark = max(self.mark, other.mark)
        return replace(self, mark=mark, above=self.above.union(other.above).above(mark))

    @classmethod
    def of(cls, fields: Fields) -> "Ack":
        """The acknowledgement in a message that has been read.

        Raises:
            ProtocolError: it is not one of this version.
        """
        check_version(fields)
        mark = bounded(fields.integer("seq"), "ack.seq", 0)
        ranges = [_range(value, f"ack.above[{i}]") for i, value in enumerate(fields.items("above"))]
        return cls(
            outbox=fields.text("outbox"),
            mark=mark,
            above=Spans.of(ranges),
            ingest=fields.text("ingest", default=""),
            greeting=fields.boolean("greeting", default=False),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The ingest cannot read one message of this device, has put it away, and never will.

    Attributes:
        digest: which message, see `digest_of`.
        reason: why, for a person.
        ingest: names one connection of one ingest.
    """

    digest: str
    reason: str
    ingest: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The store has these messages: said where an `Ack` cannot name all that is beyond the mark.

    Attributes:
        digests: which messages, see `digest_of`.
        ingest: names one connection of one ingest.
    """

    digests: tuple[str, ...]
    ingest: str


def digest_of(payload: bytes) -> str:
    """The name of a message: the SHA-256 of its payload as sent, in hex."""
    return hashlib.sha256(payload).hexdigest()


def parse_answer(payload: bytes) -> Ack | Refusal | Receipt:
    """Read what an ingest says to a device.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = Fields(load(payload), "ack", ProtocolError, ignore_unknown=True)
    if "stored" in fields.raw:
        check_version(fields)
        return Receipt(fields.texts("stored"), fields.text("ingest", default=""))
    if "refused" not in fields.raw:
        return Ack.of(fields)
    check_version(fields)
    return Refusal(
        fields.text("refused"), fields.text("reason", default=""), fields.text("ingest", default="")
    )


@dataclass(frozen=True, slots=True)
class State:
    """Whether a device is there: its birth, its farewell, or the will that the broker holds.

    `epoch` counts (starts of the process, connections since then): of two
    states of one outbox the greater epoch is the newer, whichever came last.
    """

    online: bool
    device: str
    outbox: str
    epoch: tuple[int, int]
    time_s: float
    version: str
    model: ModelRef | None = None
    update: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        """The message's bytes."""
        document: dict[str, Any] = {
            "v": VERSION,
            "online": self.online,
            "device": self.device,
            "outbox": self.outbox,
            "epoch": list(self.epoch),
            "time_s": self.time_s,
            "edgeml": self.version,
        }
        if self.model is not None:
            document["model"] = model_document(self.model)
        if self.update is not None:
            document["update"] = dict(self.update)
        return dump(document)


def encode_health(device: str, time_s: float, fields: Mapping[str, Any]) -> bytes:
    """One message of the `health` topic."""
    more = {str(key): plain(value) for key, value in fields.items()}
    return dump({**more, "v": VERSION, "device": device, "time_s": time_s})


def encode_latest(device: str, model: ModelRef, row: bytes) -> bytes:
    """A result as one flat object, for readers that know nothing of batches."""
    result = json.loads(row)
    flat = {"device": device, "model": f"{model.name}@{model.version}", "time_s": result["end_s"]}
    return dump({**flat, "label": result["label"], "score": result["score"]})


def _range(value: object, where: str) -> Range:
    if not (
        isinstance(value, list)
        and len(value) == 2
        and all(type(n) is int and 0 < n <= MAX_SEQ for n in value)
        and value[0] <= value[1]
    ):
        raise ProtocolError(f"{where} is {shown(value)}; it should be [first, last]")
    return value[0], value[1]
