"""What the messages of docs/protocol.md say, read strictly: batches, marks, states.

A batch is the unit of delivery: one outbox, one model, many rows, each with
its own sequence number. Whoever reads one from the network meets `ProtocolError`
for anything that is not exactly that, and nothing else.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from edgeml.errors import ProtocolError
from edgeml.jsonread import Fields
from edgeml.result import ModelRef
from edgeml.sync.spans import Range, Spans

VERSION: Final = 1
GAP: Final = "gap"
MAX_SEQ: Final = (1 << 63) - 1
MAX_RANGES: Final = 64
"""An acknowledgement names at most so many ranges above its mark, the lowest ones."""
MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
_ZLIB_FIRST_BYTE: Final = 0x78


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result as it travels; the fields of `edgeml.result.Result`, and what the caller added.

    `score` and the `outputs` may be None: JSON has no NaN, and a result whose
    model answered NaN is still delivered.
    """

    seq: int
    start_s: float
    end_s: float
    label: str | None
    score: float | None
    outputs: tuple[float | None, ...]
    pre_us: float
    invoke_us: float
    post_us: float
    window: int | None
    extra: Mapping[str, Any] | None

    @property
    def last(self) -> int:
        """The last sequence number this row accounts for: its own."""
        return self.seq


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened on the device; a gap stands for every number from `seq` to `last`."""

    seq: int
    last: int
    time_s: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of results or of events; `model` is None for events."""

    outbox: str
    model: ModelRef | None
    results: tuple[ResultRow, ...] = ()
    events: tuple[EventRow, ...] = ()

    @property
    def spans(self) -> Spans:
        """Every sequence number that the batch accounts for."""
        return Spans.of((row.seq, row.seq) for row in self.results).union(
            Spans.of((row.seq, row.last) for row in self.events)
        )


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
        whole = len(self.above.ranges) < MAX_RANGES
        return otherwise if whole else self.above.ranges[-1][1]

    def encode(self) -> bytes:
        """The message's bytes."""
        document = {
            "v": VERSION,
            "outbox": self.outbox,
            "seq": self.mark,
            "above": [list(r) for r in self.above.ranges[:MAX_RANGES]],
            "ingest": self.ingest,
            "greeting": self.greeting,
        }
        return _dump(document)

    @classmethod
    def parse(cls, payload: bytes) -> "Ack":
        """Read an acknowledgement.

        Raises:
            ProtocolError: it is not one of this version.
        """
        fields = Fields(load(payload), "ack", ProtocolError, ignore_unknown=True)
        _check_version(fields)
        mark = _bounded(fields.integer("seq"), "ack.seq", 0)
        ranges = [_range(value, f"ack.above[{i}]") for i, value in enumerate(fields.items("above"))]
        return cls(
            outbox=fields.text("outbox"),
            mark=mark,
            above=Spans.of(ranges),
            ingest=fields.text("ingest", default=""),
            greeting=fields.boolean("greeting", default=False),
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
            document["model"] = _model_document(self.model)
        return _dump(document)

    @classmethod
    def parse(cls, payload: bytes) -> "State":
        """Read a state.

        Raises:
            ProtocolError: it is not one of this version.
        """
        fields = Fields(load(payload), "state", ProtocolError, ignore_unknown=True)
        _check_version(fields)
        epoch = fields.integers("epoch")
        if len(epoch) != 2:
            raise ProtocolError(f"state.epoch has {len(epoch)} numbers; it should have 2")
        model = fields.optional_child("model")
        return cls(
            online=fields.boolean("online"),
            device=clean(fields.text("device")),
            outbox=clean(fields.text("outbox")),
            epoch=(_bounded(epoch[0], "state.epoch", 0), _bounded(epoch[1], "state.epoch", 0)),
            time_s=fields.number("time_s"),
            version=clean(fields.text("edgeml")),
            model=None if model is None else _model(model),
        )


def encode_batch(outbox: str, model: ModelRef | None, rows: Sequence[bytes]) -> bytes:
    """One message from rows that are JSON already, separated by `,` and a line feed."""
    head: dict[str, Any] = {"v": VERSION, "outbox": outbox}
    if model is not None:
        head["model"] = _model_document(model)
    return b"".join((_dump(head)[:-1], b',"rows":[\n', b",\n".join(rows), b"\n]}"))


def encode_health(device: str, time_s: float, fields: Mapping[str, Any]) -> bytes:
    """One message of the `health` topic."""
    return _dump({"v": VERSION, "device": device, "time_s": time_s, **fields})


def parse_health(payload: bytes) -> Mapping[str, Any]:
    """Read a message of the `health` topic; its fields are the device's own affair.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = Fields(load(payload), "health", ProtocolError, ignore_unknown=True)
    _check_version(fields)
    fields.number("time_s")
    if not _is_finite_json(fields.raw):
        raise ProtocolError("health has a number beyond 64 bits")
    return fields.raw


def encode_latest(device: str, model: ModelRef, row: bytes) -> bytes:
    """A result as one flat object, for readers that know nothing of batches."""
    result = json.loads(row)
    flat = {"device": device, "model": f"{model.name}@{model.version}", "time_s": result["end_s"]}
    return _dump({**flat, "label": result["label"], "score": result["score"]})


def compress(payload: bytes) -> bytes:
    """The message as zlib; `load` tells it from JSON by its first byte."""
    return zlib.compress(payload, 6)


def parse_results(payload: bytes) -> Batch:
    """Read a message of the `results` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = _batch_fields(payload)
    model = _model(fields.child("model"))
    rows = tuple(_result_row(row, i) for i, row in enumerate(_rows(fields)))
    return Batch(clean(fields.text("outbox")), model, results=rows)


def parse_events(payload: bytes) -> Batch:
    """Read a message of the `events` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = _batch_fields(payload)
    rows = tuple(_event_row(row, i) for i, row in enumerate(_rows(fields)))
    return Batch(clean(fields.text("outbox")), None, events=rows)


def load(payload: bytes) -> Any:
    """The JSON in a message, compressed or not; never NaN, never more than 16 MiB.

    Raises:
        ProtocolError: it is neither JSON nor zlib of JSON.
    """
    if payload[:1] == bytes((_ZLIB_FIRST_BYTE,)):
        unpacker = zlib.decompressobj()
        try:
            payload = unpacker.decompress(payload, MAX_UNPACKED_BYTES)
        except zlib.error as exc:
            raise ProtocolError(f"the message is not zlib: {exc}") from exc
        if not unpacker.eof:
            raise ProtocolError(
                f"the message is cut short or unpacks to more than {MAX_UNPACKED_BYTES} bytes"
            )
    try:
        return json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"the message is not JSON: {exc}") from exc


def clean(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _batch_fields(payload: bytes) -> Fields:
    fields = Fields(load(payload), "batch", ProtocolError, ignore_unknown=True)
    _check_version(fields)
    return fields


def _rows(fields: Fields) -> list[Any]:
    rows = fields.items("rows")
    if not rows:
        raise ProtocolError("batch.rows is empty; a batch has at least one row")
    return rows


def _check_version(fields: Fields) -> None:
    version = fields.integer("v")
    if version != VERSION:
        raise ProtocolError(
            f"{fields.path}.v is {version}; this edgeml reads {VERSION}: upgrade it"
        )


def _result_row(row: Any, index: int) -> ResultRow:
    # The one place that runs for every result of a whole fleet: a type check each, no reader
    # object.
    try:
        outputs = row["outputs"]
        label, score = row["label"], row["score"]
        start_s, end_s = row["start_s"], row["end_s"]
        pre_us, invoke_us, post_us = row["pre_us"], row["invoke_us"], row["post_us"]
        seq, window, extra = row["seq"], row.get("window"), row.get("extra")
    except (KeyError, TypeError, AttributeError) as exc:
        raise ProtocolError(f"batch.rows[{index}] is not a result: {_explain(exc)}") from exc
    if not (
        type(seq) is int
        and 0 < seq <= MAX_SEQ
        and (label is None or type(label) is str)
        and (score is None or type(score) in _NUMBERS)
        and type(outputs) is list
        and all(value is None or type(value) in _NUMBERS for value in outputs)
        and all(type(value) in _NUMBERS for value in (start_s, end_s, pre_us, invoke_us, post_us))
        and (window is None or (type(window) is int and abs(window) <= MAX_SEQ))
        and (extra is None or (type(extra) is dict and _is_finite_json(extra)))
    ):
        raise ProtocolError(f"batch.rows[{index}] has a value of the wrong type: {_shown(row)}")
    try:
        times = (float(start_s), float(end_s), float(pre_us), float(invoke_us), float(post_us))
        score = None if score is None else finite(float(score))
        values = tuple([None if value is None else finite(float(value)) for value in outputs])
    except OverflowError as exc:
        raise ProtocolError(
            f"batch.rows[{index}] has a number beyond 64 bits: {_shown(row)}"
        ) from exc
    if not math.isfinite(sum(times)):
        raise ProtocolError(f"batch.rows[{index}] has a time beyond 64 bits: {_shown(row)}")
    label = None if label is None else clean(label)
    return ResultRow(seq, times[0], times[1], label, score, values, *times[2:], window, extra)


def _event_row(row: Any, index: int) -> EventRow:
    fields = Fields(row, f"batch.rows[{index}]", ProtocolError, ignore_unknown=True)
    seq = _bounded(fields.integer("seq"), f"{fields.path}.seq", 1)
    last = _bounded(fields.integer("last", default=seq), f"{fields.path}.last", seq)
    kind = clean(fields.text("kind"))
    if kind != GAP and last != seq:
        raise ProtocolError(
            f"{fields.path} is a {kind!r} over {seq} to {last}; only a gap covers a range"
        )
    values = fields.child("fields").raw
    if not _is_finite_json(values):
        raise ProtocolError(f"{fields.path}.fields has a number beyond 64 bits: {_shown(values)}")
    return EventRow(seq, last, fields.number("time_s"), kind, values)


def _model(fields: Fields) -> ModelRef:
    return ModelRef(
        clean(fields.text("name")),
        _bounded(fields.integer("version"), "model.version", 0),
        clean(fields.text("digest")),
    )


def _model_document(model: ModelRef) -> dict[str, Any]:
    return {"name": model.name, "version": model.version, "digest": model.digest}


def _range(value: object, where: str) -> Range:
    if not (
        isinstance(value, list)
        and len(value) == 2
        and all(type(n) is int and 0 < n <= MAX_SEQ for n in value)
        and value[0] <= value[1]
    ):
        raise ProtocolError(f"{where} is {_shown(value)}; it should be [first, last]")
    return value[0], value[1]


def _bounded(number: int, where: str, least: int) -> int:
    if not least <= number <= MAX_SEQ:
        raise ProtocolError(f"{where} is {number}; it should be {least} to 2**63 - 1")
    return number


def _is_finite_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _explain(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else "it is not an object"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def finite(value: float) -> float | None:
    """The number, or None where JSON cannot say it."""
    return value if math.isfinite(value) else None


_NUMBERS: Final = frozenset((int, float))
