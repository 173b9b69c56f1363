"""Three devices, a broker, an ingest, the proxies in between and their disks: to be broken."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, ClassVar

import pytest

from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto
from tests.faults.disk import Disk, a_disk
from tests.faults.proxy import Proxy
from tests.faults.schedule import DEVICES, Fault, Schedule

DRAIN_S = 150.0


class Plant:
    """The processes of one run.

    Args:
        home: for journals and logs, on a disk that is never full.
        seed: what devices and proxies do by chance follows from it.
        plan: what will happen.
    """

    def __init__(self, home: Path, seed: int, plan: Schedule) -> None:
        mosquitto = find_mosquitto()
        if mosquitto is None:
            pytest.fail("the fault runs need Mosquitto: sudo apt install mosquitto")
        self.home = home
        self.seed = seed
        self.plan = plan
        self.log: IO[bytes] = (home / "log").open("ab")
        self._devices: dict[str, subprocess.Popen[bytes]] = {}
        self._ingest: subprocess.Popen[bytes] | None = None
        self._disks: dict[str, Disk] = {
            "devices": a_disk(home / "devices", lambda: (p.pid for p in self._devices.values())),
            "store": a_disk(home / "store", lambda: (p.pid for p in (self._ingest,) if p)),
        }
        self._broker = LocalBroker(BrokerKind("mosquitto", (str(mosquitto), "-p", "{port}")))
        self._broker.start()
        self.proxies = {
            name: Proxy(self._broker.port, f"{seed}/{name}") for name in ("devices", "ingest")
        }
        for device in DEVICES:
            self._start_device(device)
        self._start_ingest()

    @property
    def store(self) -> Path:
        return self._disks["store"].home / "store.db"

    def outbox(self, device: str) -> Path:
        return self._disks["devices"].home / f"{device}.db"

    def wait_for_results(self) -> None:
        """Before anything breaks every device has something to lose."""
        deadline_s = time.monotonic() + DRAIN_S
        journals = [self.home / f"{device}.journal" for device in DEVICES]
        while not all(journal.exists() and journal.stat().st_size for journal in journals):
            assert time.monotonic() < deadline_s, "a device does not come up"
            time.sleep(0.05)

    def suffer(self) -> None:
        """Everything that the plan says."""
        for fault in self.plan.faults:
            time.sleep(fault.after_s)
            self._FAULTS[fault.kind](self, fault)
            self._tend()

    def drain(self) -> None:
        """Stop producing and let everything arrive."""
        (self.home / "stop").touch()
        deadline_s = time.monotonic() + DRAIN_S
        while any(device.poll() != 0 for device in self._devices.values()):
            assert time.monotonic() < deadline_s, (self.home / "log").read_text()[-3000:]
            self._tend()
            time.sleep(0.02)
        if self._ingest is not None:
            self._ingest.send_signal(signal.SIGTERM)
            assert self._ingest.wait(DRAIN_S) == 0, (self.home / "log").read_text()[-3000:]

    def keep(self) -> None:
        """Copy what is on the disks, which go with the run, to where a person can look at it."""
        for name, disk in self._disks.items():
            kept = self.home / f"{name}-kept"
            kept.mkdir()
            for file in disk.home.glob("*.db*"):
                shutil.copy(file, kept)

    def close(self) -> None:
        for process in (*self._devices.values(), self._ingest):
            kill(process)
        for proxy in self.proxies.values():
            proxy.close()
        self._broker.kill()
        for disk in self._disks.values():
            disk.close()
        self.log.close()

    def _tend(self) -> None:
        """What systemd does: who ended by itself, for example on a full disk, is started again."""
        for device, process in self._devices.items():
            if process.poll():
                self._start_device(device)
        if self._ingest is not None and self._ingest.poll():
            self._start_ingest()

    def _start_device(self, device: str) -> None:
        script = Path(__file__).with_name("device.py")
        url = f"mqtt://127.0.0.1:{self.proxies['devices'].port}"
        arguments = [device, url, self.home, self.outbox(device), self.seed, self.plan.cap_bytes]
        command = [sys.executable, script, *arguments]
        self._devices[device] = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stderr=self.log
        )

    def _start_ingest(self) -> None:
        url = f"mqtt://127.0.0.1:{self.proxies['ingest'].port}"
        command = ["fleet", "ingest", "--broker", url, "--fleet", "faults", "--store"]
        self._ingest = subprocess.Popen(
            [sys.executable, "-m", "edgeml", *command, str(self.store),
             "--reconnect-max-s", "0.3"],
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )  # fmt: skip

    def _kill_device(self, fault: Fault) -> None:
        kill(self._devices[fault.target])
        time.sleep(fault.for_s)
        self._start_device(fault.target)

    def _kill_broker(self, fault: Fault) -> None:
        self._broker.kill()
        time.sleep(fault.for_s)
        self._broker.start()

    def _kill_ingest(self, fault: Fault) -> None:
        kill(self._ingest)
        time.sleep(fault.for_s)
        self._start_ingest()

    def _tear(self, fault: Fault) -> None:
        self.proxies[fault.target].tear()

    def _fill_disk(self, fault: Fault) -> None:
        disk = self._disks[fault.target]
        disk.fill(int(fault.amount))
        time.sleep(fault.for_s)
        self._tend()
        disk.clear()

    def _set_clock(self, fault: Fault) -> None:
        stdin = self._devices[fault.target].stdin
        if stdin is not None and self._devices[fault.target].poll() is None:
            stdin.write(f"clock {fault.amount}\n".encode())
            stdin.flush()

    _FAULTS: ClassVar[dict[str, Callable[["Plant", Fault], None]]] = {
        "kill device": _kill_device,
        "kill broker": _kill_broker,
        "kill ingest": _kill_ingest,
        "tear lines": _tear,
        "fill disk": _fill_disk,
        "set clock": _set_clock,
    }


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """SIGKILL, and wait until it is gone."""
    if process is None:
        return
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
