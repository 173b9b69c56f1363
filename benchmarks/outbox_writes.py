"""Durable rows a second: the outbox beside persist-queue and bare SQLite, in one run.

Every contender stores the same results so that a power cut cannot take them:
`synchronous=FULL`, on the same disk. The outbox and bare SQLite commit in
groups of the same size; persist-queue's SQLiteAckQueue commits each item, which
is how it is used. The cost of `put` for the thread that infers is measured
apart, with the writer at work. Prints one JSON line.

    python benchmarks/outbox_writes.py [--rows 50000] [--group 512] [--directory .]

persist-queue is not a dependency of edgeml; without it that figure is null.
"""

import argparse
import json
import sqlite3
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, perf_counter_ns

from edgeml.clock import SystemClock
from edgeml.result import ModelRef, Result
from edgeml.sync.entries import Caps
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingResult
from edgeml.sync.rows import result_row
from edgeml.sync.writer import Writer

MODEL = ModelRef("activity", 3, "ab" * 32)
SLOW_ROWS = 300


def a_result(n: int) -> Result:
    """One of the results to store."""
    return Result(
        MODEL, n / 10, n / 10 + 10, "walking", 0.75, (0.125, 0.75, 0.0625), 11.5, 80.25, 3.0
    )


def outbox_rows_s(home: Path, rows: int, group: int) -> tuple[float, list[int]]:
    """Rows a second from the first `put` to the last fsync, and what each `put` took, in ns."""
    clock = SystemClock()
    outbox = Outbox(home / "outbox.db", Caps(1 << 32, 1 << 20), clock)
    pace = Pace(
        interval_s=0.01, rows=group, row_bytes=100_000, entry_bytes=16_384, memory_rows=rows + 1
    )
    writer = Writer(outbox, pace, clock, lambda _: None)
    writer.start()
    results = [a_result(n) for n in range(rows)]
    took = []
    start = perf_counter()
    for n, result in enumerate(results):
        before = perf_counter_ns()
        writer.put(PendingResult(result, n, None))
        took.append(perf_counter_ns() - before)
    stored = writer.flush(600)
    seconds = perf_counter() - start
    if not stored or outbox.waiting.rows != rows:
        raise SystemExit(f"only {outbox.waiting.rows} of {rows} rows were stored")
    writer.close(10)
    outbox.close()
    return rows / seconds, took


def bare_rows_s(home: Path, rows: int, group: int) -> float:
    """The same JSON, one SQLite row each, committed in groups by hand."""
    db = sqlite3.connect(home / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE q (seq INTEGER PRIMARY KEY, body BLOB)")
    results = [a_result(n) for n in range(rows)]
    start = perf_counter()
    for first in range(0, rows, group):
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO q VALUES (?, ?)",
            [
                (n + 1, result_row(n + 1, results[n], n, None))
                for n in range(first, min(first + group, rows))
            ],
        )
        db.execute("COMMIT")
    seconds = perf_counter() - start
    db.close()
    return rows / seconds


def persist_queue_rows_s(home: Path) -> float | None:
    """SQLiteAckQueue as it comes, but durable: its connection commits with synchronous=FULL."""
    if find_spec("persistqueue") is None:
        return None
    queue = import_module("persistqueue").SQLiteAckQueue(str(home / "pq"), auto_commit=True)
    results = [result_row(n + 1, a_result(n), n, None) for n in range(SLOW_ROWS)]
    start = perf_counter()
    for row in results:
        queue.put(row)
    seconds = perf_counter() - start
    queue.close()
    return SLOW_ROWS / seconds


def main() -> None:
    """Run the contenders in turn and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--group", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path())
    args = parser.parse_args()
    ours: list[float] = []
    bare: list[float] = []
    took: list[int] = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=args.directory) as name:
            home = Path(name)
            rate, took = outbox_rows_s(home, args.rows, args.group)
            ours.append(rate)
            bare.append(bare_rows_s(home, args.rows, args.group))
    with tempfile.TemporaryDirectory(dir=args.directory) as name:
        peer = persist_queue_rows_s(Path(name))
    took.sort()
    outbox = sorted(ours)[len(ours) // 2]
    sqlite = sorted(bare)[len(bare) // 2]
    print(
        json.dumps({
            "outbox_rows_s": round(outbox),
            "bare_sqlite_rows_s": round(sqlite),
            "persist_queue_rows_s": None if peer is None else round(peer),
            "times_bare_sqlite": round(outbox / sqlite, 2),
            "times_persist_queue": None if peer is None else round(outbox / peer, 1),
            "put_p50_us": took[len(took) // 2] / 1000,
            "put_p99_us": took[len(took) * 99 // 100] / 1000,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
