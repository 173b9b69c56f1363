"""The demonstration as a person runs it: real processes, a real SIGKILL, a count at the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.fleet.localbroker import find_mosquitto

KEYS = [
    "produced",
    "delivered",
    "lost",
    "duplicates",
    "accuracy",
    "p50_us",
    "p99_us",
    "outages",
    "seconds",
    "rollout",
]


def _demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edgeml", "demo", "--json", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
def test_nothing_is_lost_although_the_broker_is_killed(broker: str, tmp_path: Path) -> None:
    if broker == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no Mosquitto on this machine")
    report = tmp_path / "report.html"
    devices = "3" if broker == "embedded" else "0"
    done = _demo("--broker", broker, "--repeat", "8", "--devices", devices, "--report", str(report))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert list(summary) == (KEYS if broker == "embedded" else KEYS[:-1])
    assert summary["produced"] == summary["delivered"] == 8 * 40
    assert summary["lost"] == summary["duplicates"] == 0
    assert summary["outages"] >= 1
    assert summary["accuracy"] >= 0.95
    assert 0 < summary["p50_us"] <= summary["p99_us"]
    assert "Every result arrived, each once." in report.read_text()
    if broker == "embedded":
        told = summary["rollout"]
        assert (told["devices"], told["updated"], told["reached_by_bad"]) == (3, 3, 1)
        assert told["halted"]
        assert "nobody else ever got it" in report.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--outage", "-1"),
        ("--repeat", "0"),
        ("--report", "/nonexistent/x.html"),
        ("--devices", "51"),
    ],
    ids=" ".join,
)
def test_what_cannot_work_is_said_before_anything_starts(arguments: tuple[str, str]) -> None:
    done = _demo(*arguments)
    assert done.returncode == 18
    assert done.stderr.count("\n") == 1


def test_a_recording_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    done = _demo("--recordings", str(tmp_path / "none.npz"))
    assert done.returncode == 17
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
