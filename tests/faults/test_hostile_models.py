"""Ten thousand hostile model files: each is refused or read, none harms the process that asks.

Each file of a coverage-guided fuzzer is read here, in this process; every
fiftieth that is read and not refused is opened by an interpreter too, in a probe.
EDGEML_FAULT_RUNS says how many fifties (10), EDGEML_FAULT_SEED the seed (0).
"""

import os
import time
from pathlib import Path

import pytest

from edgeml.errors import BundleError, EdgeMLError
from edgeml.runtime.probe import ProbeLimits, probe
from edgeml.runtime.process import peak_rss_mb, rss_mb
from edgeml.runtime.source import read_source
from tests.faults.fuzz import Fuzzer, good_files

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
FILES = 50 * int(os.environ.get("EDGEML_FAULT_RUNS", "10"))
SEED = int(os.environ.get("EDGEML_FAULT_SEED", "0"))
PROBED = FILES // 50
LONGEST_S = 5.0
MEMORY_MB = 200.0


def is_read(content: bytes) -> bool:
    """Read it; False where it is refused. Anything but a BundleError fails the test."""
    try:
        read_source(content)
    except BundleError:
        return False
    return True


def test_every_hostile_file_is_refused_or_read_in_bounded_time_and_memory(tmp_path: Path) -> None:
    fuzzer = Fuzzer(good_files(ROOT), SEED)
    before = rss_mb() or 0.0
    first_lines = len(fuzzer.seen)
    readable: list[bytes] = []
    longest = 0.0
    for i, mutant in enumerate(fuzzer.mutants()):
        if i == FILES:
            break
        (tmp_path / "last.tflite").write_bytes(mutant)  # what is left after a crash
        start = time.process_time()
        if is_read(mutant) and len(readable) < PROBED:
            readable.append(mutant)
        longest = max(longest, time.process_time() - start)
    assert longest < LONGEST_S
    assert (peak_rss_mb() or 0.0) - before < MEMORY_MB
    assert len(fuzzer.seen) > first_lines  # it got beyond what good files reach
    outcomes = {"served": 0, "refused": 0, "died": 0}
    path = tmp_path / "mutant.tflite"
    for mutant in readable:
        path.write_bytes(mutant)
        report = probe(path, ProbeLimits(timeout_s=60.0, cpu_s=20, runs=2))
        outcome = "served" if report.error is None else "refused"
        if report.error is not None and "ended the probe" in report.error:
            outcome = "died"
        outcomes[outcome] += 1
        if report.error is not None:
            with pytest.raises(EdgeMLError):
                report.raise_error()
    print(f"{FILES} files, {len(fuzzer.corpus)} in the corpus, longest {longest:.3f} s, {outcomes}")
    assert sum(outcomes.values()) == len(readable)
