"""Reads what the demonstration's device got into the store, as it would be read a year later."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from edgeml.demo.tally import Answer
from edgeml.fleet.sqlite_store import SQLiteStore


def stored_answers(store: Path, device: str) -> tuple[Answer, ...]:
    """Every result of one device.

    Raises:
        StoreError: the store cannot be read.
    """
    with closing(SQLiteStore(store)) as opened:
        return tuple(_answer(row) for row in opened.results(device))


def _answer(row: Mapping[str, Any]) -> Answer:
    return Answer(
        start_s=row["start_s"],
        label=row["label"] or "",
        score=row["score"],
        outputs=tuple(json.loads(row["outputs"])),
        total_us=row["pre_us"] + row["invoke_us"] + row["post_us"],
    )
