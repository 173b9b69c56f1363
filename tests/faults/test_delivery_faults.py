"""Nothing lost, nothing doubled, whatever dies: seeded runs over real processes.

Three devices, a Mosquitto without persistence and an ingest, all of them
killed by a schedule that the seed gives, with a proxy in between that tears
lines, repeats messages and swaps them, disks that refuse to grow and clocks
that jump by a day. EDGEML_FAULT_RUNS says how many runs (10), EDGEML_FAULT_SEED
the first seed (0); a run that fails names its seed, which makes it again.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.sync.spans import Spans
from tests.faults.device import STARTS_APART, score_of
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.faults

DEVICES = ("d0", "d1", "d2")
FAULTS = ("device", "device", "broker", "ingest", "tear", "tear", "nothing")
RUNS = int(os.environ.get("EDGEML_FAULT_RUNS", "10"))
FIRST_SEED = int(os.environ.get("EDGEML_FAULT_SEED", "0"))
CHAOS_S = 4.0
DRAIN_S = 150.0


class Plant:
    """Three devices, a broker, an ingest and the proxy in between, as processes."""

    def __init__(self, home: Path, seed: int) -> None:
        mosquitto = find_mosquitto()
        if mosquitto is None:
            pytest.fail("the fault runs need Mosquitto: sudo apt install mosquitto")
        self.home = home
        self.rng = random.Random(seed)
        self.cap_bytes = self.rng.choice((64 * 1024, 1 << 28, 1 << 28))
        self.broker = LocalBroker(BrokerKind("mosquitto", (str(mosquitto), "-p", "{port}")))
        self.broker.start()
        self.proxy = Proxy(self.broker.port, f"{seed}/proxy")
        self.seed = seed
        self.log: IO[bytes] = (home / "log").open("ab")
        self.devices = {device: self.start_device(device) for device in DEVICES}
        self.ingest = self.start_ingest()

    def start_device(self, device: str) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("device.py")
        url = f"mqtt://127.0.0.1:{self.proxy.port}"
        arguments = [device, url, str(self.home), str(self.seed), str(self.cap_bytes)]
        return subprocess.Popen([sys.executable, str(script), *arguments], stderr=self.log)

    def start_ingest(self) -> subprocess.Popen[bytes]:
        command = ["fleet", "ingest", "--broker", self.broker.url, "--fleet", "faults", "--store"]
        return subprocess.Popen(
            [sys.executable, "-m", "edgeml", *command, str(self.home / "store.db"),
             "--reconnect-max-s", "0.3"],
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )  # fmt: skip

    def wait_for_results(self) -> None:
        """Before anything is killed every device has something to lose."""
        deadline_s = time.monotonic() + DRAIN_S
        journals = [self.home / f"{device}.journal" for device in DEVICES]
        while not all(journal.exists() and journal.stat().st_size for journal in journals):
            assert time.monotonic() < deadline_s, "a device does not come up"
            time.sleep(0.05)

    def fault(self) -> None:
        """Do one of the things that happen."""
        kind = self.rng.choice(FAULTS)
        pause_s = self.rng.uniform(0.0, 0.6)
        if kind == "device":
            device = self.rng.choice(DEVICES)
            kill(self.devices[device])
            time.sleep(pause_s)
            self.devices[device] = self.start_device(device)
        elif kind == "broker":
            self.broker.kill()
            time.sleep(pause_s)
            self.broker.start()
        elif kind == "ingest":
            kill(self.ingest)
            time.sleep(pause_s)
            self.ingest = self.start_ingest()
        elif kind == "tear":
            self.proxy.tear()

    def drain(self) -> list[int]:
        """Stop producing, let everything arrive, and return the devices' exit statuses."""
        (self.home / "stop").touch()
        statuses = [process.wait(DRAIN_S) for process in self.devices.values()]
        self.ingest.send_signal(signal.SIGTERM)
        self.ingest.wait(DRAIN_S)
        return statuses

    def close(self) -> None:
        for process in (*self.devices.values(), self.ingest):
            kill(process)
        self.proxy.close()
        self.broker.kill()
        self.log.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def durable(journal: Path) -> set[int]:
    """Every number that the device was told is on disk."""
    numbers: set[int] = set()
    for line in journal.read_text().split():
        last = int(line)
        numbers.update(range(last - last % STARTS_APART, last))
    return numbers


class Numbering:
    """Which number of which outbox each result of a device got."""

    def __init__(self, path: Path) -> None:
        starts = [line.split() for line in path.read_text().splitlines()]
        self._starts = {int(start): (outbox, int(seq)) for start, outbox, seq in starts}

    def of(self, window: int) -> tuple[str, int]:
        outbox, first = self._starts[window // STARTS_APART]
        return outbox, first + window % STARTS_APART


def declared_lost(store: SQLiteStore, device: str) -> dict[str, Spans]:
    """What the gap records of each outbox cover."""
    lost: dict[str, Spans] = {}
    for gap in store.gaps(device):
        before = lost.get(gap["outbox"], Spans())
        lost[gap["outbox"]] = before.plus(gap["first"], gap["last"])
    return lost


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
def test_everything_durable_arrives_exactly_once(seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}: EDGEML_FAULT_SEED={seed} EDGEML_FAULT_RUNS=1 makes this run again")
    plant = Plant(tmp_path, seed)
    try:
        plant.wait_for_results()
        end_s = time.monotonic() + CHAOS_S
        while time.monotonic() < end_s:
            time.sleep(plant.rng.uniform(0.05, 0.5))
            plant.fault()
        statuses = plant.drain()
    finally:
        plant.close()
    assert statuses == [0, 0, 0], (tmp_path / "log").read_text()[-3000:]
    store = SQLiteStore(tmp_path / "store.db")
    assert store.letters() == []
    for device in DEVICES:
        rows = list(store.results(device))
        numbers = [row["window"] for row in rows]
        assert len(numbers) == len(set(numbers)), "a result is there twice"
        assert numbers == sorted(numbers), (
            "the order of the numbers is not the order of the results"
        )
        assert numbers, "this device delivered nothing, so the run shows nothing"
        assert all(row["score"] == score_of(row["window"]) for row in rows)
        missing = durable(tmp_path / f"{device}.journal") - set(numbers)
        numbering = Numbering(tmp_path / f"{device}.numbering")
        assert all((row["outbox"], row["seq"]) == numbering.of(row["window"]) for row in rows)
        lost = declared_lost(store, device)
        unexplained = [
            window
            for window in sorted(missing)
            for outbox, seq in [numbering.of(window)]
            if seq not in lost.get(outbox, Spans())
        ]
        assert not unexplained, "durable results are missing, and no gap record covers them"
        if plant.cap_bytes > 1 << 20:
            assert not missing
        for outbox in {row["outbox"] for row in rows}:
            progress = store.progress(device, outbox)
            assert not progress.above, "a hole that nobody explains"
    store.close()
