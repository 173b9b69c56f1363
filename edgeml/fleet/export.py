"""A fleet's results as one flat file: CSV by the standard library, Parquet where pyarrow is."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConfigError, MissingDependencyError, StoreError

COLUMNS: Final = (
    "device", "outbox", "seq", "model", "model_version", "model_digest", "start_s", "end_s",
    "label", "score", "outputs", "pre_us", "invoke_us", "post_us", "window", "extra", "received_s",
)  # fmt: skip
_ROWS_AT_ONCE: Final = 10_000


def export(rows: Iterator[Mapping[str, Any]], output: Path) -> int:
    """Write rows to a file; what its name ends in says how. There is all of it, or what was before.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: the name ends in neither `.csv` nor `.parquet`.
        MissingDependencyError: Parquet without pyarrow.
        StoreError: the file cannot be written.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    writer = writers.get(output.suffix.lower())
    if writer is None:
        raise ConfigError(f"{output}: the name should end in .csv or .parquet")
    part = output.with_name(f"{output.name}.part")
    try:
        count = writer(rows, part)
        part.replace(output)
    except OSError as exc:
        raise StoreError(f"{output}: cannot be written: {exc}") from exc
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def _write_csv(rows: Iterator[Mapping[str, Any]], output: Path) -> int:
    count = 0
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([row[column] for column in COLUMNS])
            count += 1
    return count


def _write_parquet(rows: Iterator[Mapping[str, Any]], output: Path) -> int:
    try:
        pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as exc:
        raise MissingDependencyError("Parquet needs pyarrow: pip install pyarrow") from exc
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    kinds = {"seq": whole, "model_version": whole, "window": whole}
    texts = {"device", "outbox", "model", "model_digest", "label", "outputs", "extra"}
    schema = pa.schema([(c, text if c in texts else kinds.get(c, real)) for c in COLUMNS])
    count = 0
    with pq.ParquetWriter(output, schema) as writer:
        for first in rows:
            part = [dict(row) for row in chain([first], islice(rows, _ROWS_AT_ONCE - 1))]
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count
