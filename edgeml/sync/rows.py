"""How a result or an event becomes the JSON that is stored, sent and never touched again.

A row is encoded once, in the writer's thread, and travels from disk to broker
as those bytes. JSON has no NaN: a number that is not finite becomes null, so
that one broken inference cannot stop the delivery of all the others.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from edgeml.result import Result
from edgeml.sync.batches import GAP
from edgeml.sync.wire import plain

_encode: Final = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_number: Final = float.__repr__
"""As `json` spells a float; a TypeError for anything else."""


def result_row(
    seq: int, result: Result, window: int | None, extra: Mapping[str, Any] | None
) -> bytes:
    """One result as a row of the `results` topic.

    Raises:
        ValueError: a time is not finite: no ingest would take the row.
    """
    if not isfinite(result.start_s + result.end_s + result.pre_us):
        raise ValueError(f"a result from {result.start_s} to {result.end_s} has no time")
    if extra is None:
        try:
            return _usual_row(seq, result, window)
        except (TypeError, ValueError, OverflowError):
            pass  # something in it is no float: the encoder knows what to do with it
    row: dict[str, Any] = {
        "seq": seq,
        "start_s": result.start_s,
        "end_s": result.end_s,
        "label": result.label,
        "score": result.score,
        "outputs": result.outputs,
        "pre_us": round(float(result.pre_us), 1),
        "invoke_us": round(float(result.invoke_us), 1),
        "post_us": round(float(result.post_us), 1),
    }
    if window is not None:
        row["window"] = window
    if extra is not None:
        row["extra"] = extra
    return _json(row)


def _usual_row(seq: int, result: Result, window: int | None) -> bytes:
    """What `result_row` gives for floats that are finite, in half the time: one is made a window.

    Raises:
        TypeError, ValueError, OverflowError: there is something else in it.
    """
    _, start_s, end_s, label, score, outputs, pre_us, invoke_us, post_us = result
    if not all(map(isfinite, (score, invoke_us, post_us, *outputs))):
        raise ValueError("not finite")
    named = "null" if label is None else _encode(label)
    numbers = ",".join(map(_number, outputs))
    last = "" if window is None else f',"window":{window:d}'
    return (
        f'{{"seq":{seq:d},"start_s":{_number(start_s)},"end_s":{_number(end_s)},"label":{named},'
        f'"score":{_number(score)},"outputs":[{numbers}],"pre_us":{pre_us:.1f},'
        f'"invoke_us":{invoke_us:.1f},"post_us":{post_us:.1f}{last}}}'
    ).encode("ascii")


def event_row(seq: int, time_s: float, kind: str, fields: Mapping[str, Any]) -> bytes:
    """One event as a row of the `events` topic."""
    return _json({"seq": seq, "time_s": time_s, "kind": kind, "fields": fields})


def gap_row(first: int, last: int, time_s: float, reason: str) -> bytes:
    """The record that stands in for rows that will never come, as a row of the `events` topic."""
    fields = {"count": last - first + 1, "reason": reason}
    return _json({"seq": first, "last": last, "time_s": time_s, "kind": GAP, "fields": fields})


def renumbered(row: bytes, shift: int) -> bytes:
    """The row with its sequence number, and a gap's last one, moved by `shift`."""
    document = json.loads(row)
    document["seq"] += shift
    if "last" in document:
        document["last"] += shift
    return _json(document)


def numbered(row: bytes) -> int | None:
    """The sequence number of a row; None where it is no JSON object with one."""
    try:
        seq = json.loads(row)["seq"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return seq if type(seq) is int else None


def _json(row: dict[str, Any]) -> bytes:
    try:
        return _encode(row).encode("ascii")
    except (ValueError, TypeError, RecursionError):
        return _encode(plain(row)).encode("ascii")
