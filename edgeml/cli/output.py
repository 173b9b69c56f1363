"""What every verb prints with: one JSON object or a table on stdout, progress on stderr."""

import json
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from edgeml.result import Result

INTERPRETERS: Final = ("litert", "tflite", "tf.lite")
"""What --backend takes; the last one on workstations only."""


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def result_row(result: "Result") -> dict[str, Any]:
    """A result as JSON values; a number that is not finite, which JSON has not, becomes null."""
    return {
        "start_s": result.start_s,
        "end_s": result.end_s,
        "label": result.label,
        "score": _finite(result.score),
        "outputs": [_finite(x) for x in result.outputs],
    }


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], last: int | None = None
) -> str:
    """A table in plain text: text to the left, numbers to the right.

    Args:
        header: of the columns.
        rows: a value for each.
        last: how many characters wide the last column may be; longer text goes on below.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    if last is not None:
        blank = [""] * (len(header) - 1)
        broken = [(row, textwrap.wrap(row[-1], last) or [""]) for row in cells]
        cells = [
            [*(row[:-1] if i == 0 else blank), part]
            for row, parts in broken
            for i, part in enumerate(parts)
        ]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in cells)])


class Progress:
    """A bar on a terminal, a line at each tenth elsewhere; nothing when quiet.

    Used as a context manager, so that the bar's line is ended whatever happens.
    """

    def __init__(
        self, title: str, total: int, stream: TextIO | None = None, *, quiet: bool = False
    ) -> None:
        self._title = title
        self._total = max(total, 1)
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._on_terminal = self._stream.isatty()
        self._shown_tenths = -1

    def __enter__(self) -> "Progress":
        self.update(0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_terminal and not self._quiet:
            self._stream.write("\n")
            self._stream.flush()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done."""
        fraction = min(done / self._total, 1.0)
        tenths = int(fraction * 10)
        if self._quiet or (not self._on_terminal and tenths == self._shown_tenths):
            return
        self._shown_tenths = tenths
        if self._on_terminal:
            filled = int(fraction * 30)
            bar = "█" * filled + "·" * (30 - filled)
            self._stream.write(f"\r\x1b[K{self._title} {bar} {done}/{self._total} {note}")
        else:
            self._stream.write(f"{self._title} {done}/{self._total} {note}".rstrip() + "\n")
        self._stream.flush()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
