"""The probe: what it finds in a good file, and that nothing in a bad one reaches this process."""

import json
import math
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.bundle import Golden, pack
from edgeml.errors import BackendError, BundleError, ConfigError
from edgeml.manifest import Budgets, InputSpec, Manifest, OutputSpec, channels
from edgeml.runtime.model import Model
from edgeml.runtime.probe import ProbeLimits, ProbeReport, probe, run_child
from edgeml.runtime.probetasks import percentile

FIXTURES = Path(__file__).parents[2] / "fixtures"
INT8 = (FIXTURES / "classifier_int8.tflite").read_bytes()
QUICK = ProbeLimits(timeout_s=120.0, runs=5)


def windows(count: int) -> npt.NDArray[np.float32]:
    i = np.arange(count * 60, dtype=np.int64)
    return (((i * 37) % 101 - 50) / 16).astype(np.float32).reshape(count, 20, 3)


def manifest(budgets: Budgets | None = None) -> Manifest:
    return Manifest(
        name="gait",
        version=7,
        task="classification",
        created="2026-01-31T12:00:00Z",
        inputs=InputSpec(channels("xyz"), 50.0, 20, 10, (20, 3)),
        outputs=OutputSpec("classification", ("a", "b", "c", "d")),
        budgets=budgets,
    )


def bundle(budgets: Budgets | None = None, off_by: int = 0) -> bytes:
    given = windows(3)
    with Model.load(INT8) as model:
        outputs = np.stack([model.run_raw(w) for w in given])
    outputs[0, 0] += off_by
    return pack(INT8, manifest(budgets), Golden(given, outputs, 1.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gait.tflite"


def test_a_good_bundle_passes_and_says_what_it_is(path: Path) -> None:
    path.write_bytes(bundle(Budgets(60_000.0, 2000.0)))
    report = probe(path, QUICK)
    assert report.ok
    facts = report.as_dict()
    assert (facts["name"], facts["version"], facts["bundle"]) == ("gait", 7, True)
    assert facts["golden"]["passed"]
    assert facts["golden"]["worst"] == 0
    assert facts["runs"] == 5
    assert 0 < facts["p50_ms"] <= facts["p95_ms"]
    assert 10 < facts["peak_rss_mb"] < 500
    report.raise_error()


def test_a_plain_model_passes_without_a_golden_test() -> None:
    report = probe(FIXTURES / "classifier_float.tflite", QUICK)
    assert report.ok
    assert report.facts["golden"] is None


@pytest.mark.parametrize(
    ("budgets", "off_by", "says"),
    [
        (None, 2, "golden test: 1 of 3 windows differ by more than 1 (worst 2)"),
        (Budgets(p95_ms=1e-6), 0, "latency: p95 is"),
        (Budgets(peak_rss_mb=1.0), 0, "memory: peak RSS is"),
    ],
)
def test_a_broken_promise_is_a_violation_and_not_an_error(
    path: Path, budgets: Budgets | None, off_by: int, says: str
) -> None:
    path.write_bytes(bundle(budgets, off_by))
    report = probe(path, QUICK)
    assert not report.ok
    assert report.error is None
    assert len(report.violations) == 1
    assert says in report.violations[0]


def test_a_damaged_bundle_is_reported_with_its_kind_of_error(path: Path) -> None:
    data = bytearray(bundle())
    data[100] ^= 0xFF
    path.write_bytes(data)
    report = probe(path, QUICK)
    assert (report.ok, report.kind, report.facts) == (False, "BundleError", {})
    with pytest.raises(BundleError, match="SHA-256"):
        report.raise_error()


def test_a_report_longer_than_a_pipe_holds_arrives_whole(path: Path) -> None:
    """The message repeats what is wrong, and a stranger decides how long that is."""
    path.write_bytes(INT8)
    name = "x" * 200_000
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "manifest.json", json.dumps({**json.loads(manifest().to_json()), "name": name})
        )
    report = probe(path, QUICK)
    assert report.kind == "ManifestError"
    assert name in str(report.error)


def test_a_model_that_the_interpreter_refuses_is_reported(path: Path) -> None:
    """The schema's version is of no interest to anybody but the interpreter."""
    version = INT8.index((3).to_bytes(4, "little"), 8)
    path.write_bytes(INT8[:version] + b"\x63" + INT8[version + 1 :])
    report = probe(path, QUICK)
    assert (report.ok, report.kind) == (False, "BackendError")
    assert "refuses the model" in str(report.error)


def test_a_file_too_large_to_look_at_is_refused_before_a_process_starts(path: Path) -> None:
    path.write_bytes(bundle())
    with pytest.raises(BundleError, match="a probe looks at files of at most 100"):
        probe(path, ProbeLimits(file_bytes=100))
    with pytest.raises(BundleError, match="cannot be read"):
        probe(path.with_name("missing.tflite"))


def test_an_option_that_is_wrong_comes_back_as_its_own_error(path: Path) -> None:
    path.write_bytes(bundle())
    with pytest.raises(ConfigError, match="at least one"):
        probe(path, QUICK, threads=0).raise_error()


def test_a_model_that_does_not_finish_is_stopped(path: Path) -> None:
    path.write_bytes(bundle())
    report = probe(path, replace(QUICK, timeout_s=0.001))
    assert not report.ok
    with pytest.raises(BackendError, match=r"did not finish within 0\.001 s"):
        report.raise_error()


def order(path: Path, **changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "path": str(path),
        "backend": None,
        "threads": None,
        "cpu_s": 60,
        "memory_mb": 512,
        "runs": 1,
        "budget_s": 1.0,
    }
    return {**base, **changes}


def memory_can_be_limited() -> bool:
    """Not on macOS, and not under QEMU's user emulation."""
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (32 << 20,) * 2)\n"
        "bytearray(256 << 20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, timeout=600
    )
    return done.returncode != 0


def test_too_little_memory_ends_the_probe_and_nothing_else(path: Path) -> None:
    if not memory_can_be_limited():
        pytest.skip("this system does not limit a process's data")
    path.write_bytes(bundle())
    outcome = run_child("verify", order(path, memory_mb=4), 120.0)
    assert isinstance(outcome, BackendError)


def test_a_crash_is_told_in_plain_words(path: Path) -> None:
    path.write_bytes(bundle())
    outcome = run_child("no such task", order(path), 120.0)
    assert isinstance(outcome, BackendError)
    assert "opening it ended the probe (exit status 1: KeyError" in str(outcome)


def test_every_fact_is_json_and_every_report_raises_its_own_kind() -> None:
    report = ProbeReport(False, "gone", "InputError")
    with pytest.raises(Exception, match="gone") as failure:
        report.raise_error()
    assert type(failure.value).__name__ == "InputError"
    assert ProbeReport(True, facts={"a": 1}).as_dict()["a"] == 1


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 2.0), (75, 3.0), (76, 4.0), (95, 4.0), (100, 4.0)]
)
def test_percentiles_are_values_that_occurred(percent: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 4.0, 2.0], percent) == expected


@pytest.mark.parametrize(
    "limit",
    [
        {"timeout_s": math.nan},
        {"timeout_s": 0},
        {"timeout_s": math.inf},
        {"memory_mb": -5},
        {"memory_mb": 20},
        {"memory_mb": 10**14},
        {"cpu_s": 0},
        {"runs": 0},
    ],
)
def test_a_limit_that_limits_nothing_or_leaves_nothing_is_refused(limit: dict[str, Any]) -> None:
    """No wall clock ends after NaN seconds, and what cannot be set was not set."""
    with pytest.raises(ConfigError, match=f"{next(iter(limit))} is .*; a probe's limit is"):
        ProbeLimits(**limit)


def test_a_probe_runs_nothing_of_the_folder_that_it_is_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who unpacks a model to look at it may have unpacked a `json.py` beside it."""
    for module in ("json", "runpy", "numpy", "edgeml"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w').close()\n")
    (tmp_path / "plain.tflite").write_bytes(INT8)
    monkeypatch.chdir(tmp_path)
    assert probe("plain.tflite", QUICK).ok
    assert not (tmp_path / "ran").exists()
