"""The device's own log of the demonstration: JSON lines, from one process to another.

It is the evidence that the store is held against, so it goes straight to a
file and shares nothing with the outbox.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from edgeml.demo.outcome import TimelinePoint
from edgeml.demo.tally import Answer
from edgeml.result import Result


def answer(result: Result) -> Answer:
    """What the log keeps of a result."""
    return Answer(
        start_s=result.start_s,
        label=result.label or "",
        score=result.score,
        outputs=result.outputs,
        total_us=result.pre_us + result.invoke_us + result.post_us,
    )


class LogWriter:
    """Appends records; each is in the file before the call returns."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def start(self, interpreter: str) -> None:
        """Note which interpreter runs the model."""
        self._write({"kind": "start", "interpreter": interpreter})

    def result(self, result: Result) -> None:
        """Note one result."""
        kept = answer(result)
        self._write(
            {
                "kind": "result",
                "start_s": kept.start_s,
                "label": kept.label,
                "score": kept.score,
                "outputs": kept.outputs,
                "total_us": kept.total_us,
            }
        )

    def state(self, now_s: float, point: TimelinePoint, outages: int) -> None:
        """Note the device's state; `now_s` is the wall clock's reading."""
        self._write(
            {
                "kind": "state",
                "now_s": now_s,
                "time_s": point.time_s,
                "produced": point.produced,
                "queue_depth": point.queue_depth,
                "connected": point.connected,
                "outages": outages,
            }
        )

    def _write(self, record: Mapping[str, object]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


@dataclass(frozen=True, slots=True)
class DeviceLog:
    """A log, read.

    Attributes:
        answers: results in the order in which they were computed.
        timeline: the device's states.
        began_s: the wall clock at the timeline's zero.
        outages: how often the device lost its broker.
        interpreter: which one ran the model.
    """

    answers: tuple[Answer, ...]
    timeline: tuple[TimelinePoint, ...]
    began_s: float
    outages: int
    interpreter: str

    @classmethod
    def read(cls, path: Path) -> "DeviceLog":
        """Read a log whose writer has ended."""
        records = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
        states = [record for record in records if record["kind"] == "state"]
        return cls(
            answers=tuple(_answer(record) for record in records if record["kind"] == "result"),
            timeline=tuple(
                TimelinePoint(s["time_s"], s["produced"], s["queue_depth"], s["connected"])
                for s in states
            ),
            began_s=states[0]["now_s"] - states[0]["time_s"] if states else 0.0,
            outages=max((s["outages"] for s in states), default=0),
            interpreter=next((r["interpreter"] for r in records if r["kind"] == "start"), "none"),
        )


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a log that may still be growing, or not be there yet."""
    return path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []


def progress_in(path: Path) -> tuple[int, int]:
    """How far a device is whose log may still be growing: results produced, results delivered."""
    lines = whole_lines(path)
    produced = sum(b'"kind": "result"' in line for line in lines)
    states = [line for line in lines if b'"kind": "state"' in line]
    if not states:
        return produced, 0
    last = json.loads(states[-1])
    return produced, last["produced"] - last["queue_depth"]


def _answer(record: Mapping[str, Any]) -> Answer:
    return Answer(
        start_s=record["start_s"],
        label=record["label"],
        score=record["score"],
        outputs=tuple(record["outputs"]),
        total_us=record["total_us"],
    )
