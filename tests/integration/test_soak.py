"""The soak passes where a device keeps up, and fails where it does not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
GOOD = {
    "seconds": 60.0,
    "rate_hz": 1000.0,
    "samples": 59_000,
    "windows": 5_891,
    "expected_windows": 5_891,
    "queue_dropped": 0,
    "gaps": 0,
    "faults": 0,
    "lost": 0,
    "core": 0.05,
    "rss_growth_mb": 0.1,
}

pytestmark = pytest.mark.workstation


def soak_module() -> Any:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_good_run_has_nothing_to_complain_of() -> None:
    assert soak_module().complaints(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"lost": 1}, "1 lost"),
        ({"queue_dropped": 20}, "20 queue_dropped"),
        ({"gaps": 1}, "1 gaps"),
        ({"faults": 1}, "1 faults"),
        ({"windows": 5_890}, "5890 windows"),
        ({"samples": 50_000}, "only 50000"),
        ({"core": 0.16}, "16.0% of a core"),
        ({"rss_growth_mb": 1.1}, "1.1 MiB grown"),
    ],
)
def test_each_bound_that_does_not_hold_is_named(wrong: dict[str, float], complaint: str) -> None:
    (said,) = soak_module().complaints({**GOOD, **wrong})
    assert complaint in said


def test_memory_that_grows_all_the_time_is_growth_and_a_peak_is_not() -> None:
    growth_mb = soak_module().growth_mb
    assert growth_mb([40 + i / 10 for i in range(100)]) > 5
    assert growth_mb([40.0] * 50 + [90.0] + [40.0] * 49) == 0
    assert growth_mb([float(min(i, 15)) for i in range(100)]) == 0  # warming up


def test_a_sensor_that_outruns_the_machine_fails_the_run() -> None:
    command = [sys.executable, str(SOAK), "--seconds", "3", "--rate-hz", "40000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["complaints"]
