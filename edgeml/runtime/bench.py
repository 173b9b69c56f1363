"""Measures a model on this machine: latency, what edgeml adds, memory, the time to a first result.

Everything runs in processes of its own, like a probe: the file may be anybody's,
and a cold start needs a process that is cold. Where EDGEML_ARM_LAB names the
lab of emulated boards, `tests/arm/lab.py` of a checkout, the report carries the
instructions of a prediction, too.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

from edgeml.errors import ConfigError, EdgeMLError
from edgeml.runtime.probe import CHILD, ProbeLimits, run_child

LAB: Final = "EDGEML_ARM_LAB"
"""The lab's command, as for the converter's counts: `tests/arm/lab.py` of a checkout."""
BOARDS: Final = ("arm64", "armhf")
"""A Raspberry Pi 4 with a 64-bit and with a 32-bit system."""

MEASURES: Final = (
    ("p50_us", "predict, median", "µs"),
    ("p95_us", "predict, 95th percentile", "µs"),
    ("p99_us", "predict, 99th percentile", "µs"),
    ("pre_us", "  preprocessing", "µs"),
    ("invoke_us", "  quantisation and interpreter", "µs"),
    ("post_us", "  postprocessing", "µs"),
    ("overhead_us", "above the interpreter alone", "µs"),
    ("peak_rss_mb", "peak RSS of the process", "MiB"),
    ("cold_start_ms", "from the start of Python to a result", "ms"),
    ("instructions", "instructions a prediction (ARM lab)", ""),
)
"""What is measured, and its unit. Times by operator are not: neither interpreter's Python package
gives them. Instructions are None without the ARM lab."""

_COLD_STARTS: Final = 5
_COUNTED: Final = (5, 25)
_COUNT_TIMEOUT_S: Final = 900.0
_STDERR: Final = "2"
"""Where the child's report goes: the lab's own number is on stdout."""


def bench(
    path: str | os.PathLike[str],
    runs: int = 2000,
    backend: str | None = None,
    threads: int | None = None,
    limits: ProbeLimits | None = None,
    board: str = BOARDS[0],
) -> dict[str, Any]:
    """Measure a model.

    Args:
        path: a bundle or a plain .tflite.
        runs: timed predictions.
        backend: as for `Model.load`.
        threads: as for `Model.load`.
        limits: of each child process; None for the defaults.
        board: of `BOARDS`, on which instructions are counted.

    Returns:
        `MEASURES`, and name, version, backend, backend_version and runs.

    Raises:
        ConfigError: fewer than one run, no such board, or EDGEML_ARM_LAB does not count.
        EdgeMLError: what kept the model from running.
    """
    if runs < 1:
        raise ConfigError(f"runs is {runs}; it takes at least one to measure")
    if board not in BOARDS:
        raise ConfigError(f"board {board!r} is none of {', '.join(BOARDS)}")
    limits = ProbeLimits() if limits is None else limits
    order = {
        "path": os.path.abspath(path),  # noqa: PTH100 - a str for JSON, whatever it was
        "backend": backend,
        "threads": threads,
        "cpu_s": limits.cpu_s,
        "memory_mb": limits.memory_mb,
        "runs": runs,
        "budget_s": limits.timeout_s / 2,
    }
    report = _report(run_child("bench", order, limits.timeout_s))
    report["cold_start_ms"] = statistics.median(
        _cold_start_ms(order, limits.timeout_s) for _ in range(_COLD_STARTS)
    )
    report["instructions"] = count_instructions(order, board, os.environ.get(LAB))
    return report


def _cold_start_ms(order: Mapping[str, Any], timeout_s: float) -> float:
    start = monotonic()
    report = _report(run_child("cold", order, timeout_s))
    return (float(report["first_result_s"]) - start) * 1e3


def _report(outcome: dict[str, Any] | EdgeMLError) -> dict[str, Any]:
    if isinstance(outcome, EdgeMLError):
        raise outcome
    return outcome


def count_instructions(order: Mapping[str, Any], board: str, lab: str | None) -> int | None:
    """Instructions of one prediction: two runs that differ by twenty of them.

    Args:
        order: as for a probe's child.
        board: of `BOARDS`.
        lab: the lab's command; None for no lab.

    Raises:
        ConfigError: the lab cannot be run, or does not end in a number.
    """
    if not lab:
        return None
    prefix = [sys.executable, lab, "count", board, "--"]
    few, many = (_count(prefix, {**order, "runs": runs}) for runs in _COUNTED)
    return round((many - few) / (_COUNTED[1] - _COUNTED[0]))


def _count(prefix: Sequence[str], order: Mapping[str, Any]) -> int:
    words = [*prefix, "-m", CHILD, "count", _STDERR, json.dumps(order)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_COUNT_TIMEOUT_S, check=True
        )
        return int(done.stdout.split()[-1])
    except subprocess.CalledProcessError as exc:
        last = exc.stderr.strip().rpartition("\n")[2]
        raise ConfigError(f"{LAB}: {shlex.join(prefix)} failed: {last[:300]}") from exc
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as exc:
        raise ConfigError(f"{LAB}: {shlex.join(prefix)} does not count ({exc})") from exc
