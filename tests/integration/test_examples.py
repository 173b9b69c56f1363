"""Every example runs as it stands, is short, and prints what it promises."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.sync.connection import Connection
from tests.ingesting import ingesting
from tests.waiting import until

from .publisher import Publisher

ROOT = Path(__file__).resolve().parents[2]
LAMP = r"(?:\w+ dark\n)+(?:walking lit\n)+(?!walking)\w+ lit(?:\n(?!walking)\w+ dark)+"
"""Lit from the second window of walking on to the second without it."""
PROMISES = {
    "classify_a_file.py": r"^walking \d\.\d\d in \d+ µs$",
    "run_offline.py": r"^walking [01]\.?\d*$",
    "deliver_results.py": r"^walking [01]\.?\d*\ndelivered$",
    "light_a_lamp.py": LAMP,
    "publish_a_model.py": r"^activity-1: 10 %, \d+ files$",
    "my_own_sensor.py": r"^\['\w+', '\w+', '\w+'\]$",
}
ON_A_WORKSTATION = {"convert_a_forest.py": r"^a \d, agreement 100%$"}
MAX_LINES = 15
DEADLINE_S = 120.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A broker and an ingest, for the examples that deliver."""
    store = SQLiteStore(tmp_path / "store.db")
    with LocalBroker() as broker, ingesting(Connection(broker.url), store, "plant-a") as ingest:
        # An example waits for its delivery as long as a person would, not for an ingest.
        until(lambda: ingest.online)
        yield {**os.environ, "BROKER": broker.url, "EDGEML_STATE_DIR": str(tmp_path / "state")}


@pytest.mark.parametrize(
    "name",
    [*PROMISES, *(pytest.param(name, marks=pytest.mark.workstation) for name in ON_A_WORKSTATION)],
)
def test_the_example_prints_what_it_promises(name: str, fleet: dict[str, str]) -> None:
    if name == "light_a_lamp.py":
        pytest.importorskip("gpiozero", reason="the lamp's library is not installed")
    done = subprocess.run(
        [sys.executable, f"examples/{name}"],
        cwd=ROOT, env={**fleet, "GPIOZERO_PIN_FACTORY": "mock"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch({**PROMISES, **ON_A_WORKSTATION}[name], done.stdout.strip()), done.stdout


def test_the_example_of_a_device_takes_what_was_published(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.offer(2)
    (tmp_path / "root.json").write_bytes(publisher.root)
    done = subprocess.run(
        [sys.executable, "examples/take_updates.py",
         str(tmp_path / "root.json"), str(publisher.out), str(tmp_path / "state")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=2 * DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "walking by activity-2\n"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_the_example_is_short_and_listed(path: Path) -> None:
    code = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(code) <= MAX_LINES
    assert path.name in (ROOT / "examples" / "README.md").read_text()
