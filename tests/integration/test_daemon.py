"""The daemon as systemd runs it: a real process, a real notify socket, real signals."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgeml.bundle import pack
from edgeml.clock import ManualClock
from edgeml.daemon.notify import Notifier
from edgeml.daemon.service import DRAIN_S, Service
from edgeml.fleet.localbroker import free_port
from edgeml.manifest import OutputSpec
from edgeml.sync.entries import Kind

from .gait import fixture, manifest

DATA = resources.files("edgeml.demo") / "data"
DEADLINE_S = 300.0


class Manager:
    """The part of systemd that a service sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(DEADLINE_S)
        self.service: subprocess.Popen[str] | None = None
        self._began_s = 0.0

    def start(self) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "600000",
        }
        self._began_s = time.monotonic()
        self.service = subprocess.Popen(
            [sys.executable, "-m", "edgeml", "run", str(self.folder / "device.toml")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self.service

    def hears(self, wanted: str) -> None:
        """Wait for a message, passing over others."""
        give_up_s = time.monotonic() + DEADLINE_S
        while not self._socket.recv(1024).decode().startswith(wanted):
            assert time.monotonic() < give_up_s

    def ready(self, status: str = "") -> float:
        """Wait until the service is; how long this machine took for that, being as busy as it is.

        How quick the end of a service is depends on the machine in the same way.
        """
        self.hears(f"READY=1{status}")
        return time.monotonic() - self._began_s

    def reload(self, then: str = "READY=1") -> None:
        """Ask the service to read its file again, and wait until it says how that went."""
        assert self.service is not None
        self.service.send_signal(signal.SIGHUP)
        self.hears("RELOADING=1")
        self.hears(then)

    def stop(self) -> str:
        """End the service in order; its log."""
        assert self.service is not None
        self.service.send_signal(signal.SIGTERM)
        _, log = self.service.communicate(timeout=DEADLINE_S)
        assert self.service.returncode == 0, log
        return log

    def close(self) -> None:
        self._socket.close()
        if self.service is not None:
            self.service.kill()
            self.service.communicate()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    shutil.copy(str(DATA / "activity.tflite"), tmp_path / "activity.tflite")
    shutil.copy(str(DATA / "recordings.npz"), tmp_path / "recordings.npz")
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def _waiting(outbox: Path, kind: Kind) -> int:
    """Entries of a kind in a running device's outbox."""
    with contextlib.closing(sqlite3.connect(outbox)) as db:
        query = "SELECT count(*) FROM entries WHERE kind = ?"
        return int(db.execute(query, (int(kind),)).fetchone()[0])


def _configure(
    folder: Path, *, model: str = "activity.tflite", speed: float = 20.0, mqtt: str = ""
) -> None:
    (folder / "device.toml").write_text(f"""
[device]
id = "pump-7"
model = "{model}"

[source]
driver = "replay"
source = "{folder / "recordings.npz"}"
speed = {speed}
repeat = 1000

[mqtt]
url = "mqtt://127.0.0.1:{free_port()}"
outbox = "outbox.db"
{mqtt}""")


def test_it_is_ready_after_the_self_test_feeds_the_watchdog_and_ends_in_time(
    manager: Manager,
) -> None:
    _configure(manager.folder)
    service = manager.start()
    start_s = manager.ready("\nSTATUS=activity version 1")
    for _ in range(3):
        manager.hears("WATCHDOG=1")
    began_s = time.monotonic()
    service.send_signal(signal.SIGTERM)
    manager.hears("STOPPING=1")
    _, log = service.communicate(timeout=DEADLINE_S)
    assert service.returncode == 0, log
    assert time.monotonic() - began_s < 5 + start_s
    assert (manager.folder / "outbox.db").exists()


def test_it_drains_within_five_seconds_though_the_broker_is_dead_and_the_queue_full(
    manager: Manager,
) -> None:
    """The outbox is at its cap and evicts, the link keeps trying, results come all the time."""
    outbox = manager.folder / "outbox.db"
    _configure(manager.folder, speed=1e6, mqtt="results_cap_bytes = 65536\n")
    service = manager.start()
    start_s = manager.ready()
    give_up_s = time.monotonic() + DEADLINE_S
    while not _waiting(outbox, Kind.GAP):
        manager.hears("WATCHDOG=1")
        assert time.monotonic() < give_up_s
    began_s = time.monotonic()
    service.send_signal(signal.SIGTERM)
    manager.hears("STOPPING=1")
    _, log = service.communicate(timeout=DEADLINE_S)
    assert service.returncode == 0, log
    assert time.monotonic() - began_s < 5 + start_s
    assert "results wait in" in log
    assert _waiting(outbox, Kind.RESULT)


def test_a_reload_takes_the_new_file_and_survives_a_wrong_one(manager: Manager) -> None:
    _configure(manager.folder)
    manager.start()
    manager.hears("READY=1")
    shutil.copy(manager.folder / "activity.tflite", manager.folder / "other.tflite")
    _configure(manager.folder, model="other.tflite")
    manager.reload()
    _configure(manager.folder, model="none.tflite")
    manager.reload("READY=1\nSTATUS=as before")
    (manager.folder / "device.toml").write_text("[devise]\n")
    manager.reload()
    log = manager.stop()
    assert "misspelt as 'devise'" in log
    assert "none.tflite: cannot be read" in log
    assert "goes on as before" in log


def test_a_reload_that_fails_as_nobody_thought_of_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("an interpreter's own error")

    told: list[str] = []
    monkeypatch.setattr("edgeml.daemon.service._prepared", fail)
    monkeypatch.setattr(Notifier, "ready", lambda _, status: told.append(status))
    Service(Path("device.toml"))._prepare_following()
    assert told == ["as before: the new configuration is wrong"]
    assert "an interpreter's own error" in caplog.text
    assert "goes on as before" in caplog.text


def test_a_source_that_ends_slowly_takes_from_the_time_to_deliver_what_is_left() -> None:
    clock = ManualClock()
    service = Service(Path("device.toml"), clock=clock)
    clock.advance(100)
    assert service._drain_s() == DRAIN_S
    service.stop()
    clock.advance(2)
    service.stop()  # a second signal does not begin anew
    assert service._drain_s() == DRAIN_S - 2
    clock.advance(9)
    assert service._drain_s() == 0


def test_each_result_is_a_line_that_says_which_model_gave_it(tmp_path: Path) -> None:
    """Two models on one recording, one of them with a score that JSON has no number for."""
    for name in ("one", "two"):
        spec = manifest(OutputSpec("embedding"), preprocess=(), name=name)
        (tmp_path / f"{name}.tflite").write_bytes(pack(fixture("identity_float"), spec))
    np.save(tmp_path / "x.npy", np.full((20, 3), 1e30, np.float32))
    config = tmp_path / "device.toml"
    config.write_text(
        '[device]\nid = "d"\nmodel = ["one.tflite", "two.tflite"]\n'
        '[source]\ndriver = "replay"\nsource = "x.npy"\nsample_rate_hz = 50\nstart_s = 7\n'
    )
    lines = {}
    for how in ((), ("--json",), ("--quiet",)):
        command = [sys.executable, "-m", "edgeml", "run", str(config), *how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines[how] = done.stdout.splitlines()
    assert lines[()] == ["7.000 one - inf", "7.000 two - inf"]
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines["--json",]]
    assert [(row["model"], row["score"]) for row in rows] == [("one", None), ("two", None)]
    assert len(rows[0]["outputs"]) == 60
    assert lines["--quiet",] == []


WRONG = {
    "an id that is no topic": ('id = "pump-7"', 'id = "pump 7"', "device id 'pump 7'"),
    "an unknown policy": ("[source]", 'on_nan = "holt"\n[source]', "did you mean 'hold'"),
    "an unknown overrun": ("[source]", 'overrun = "blok"\n[source]', "did you mean 'block'"),
    "a channel that is not there": (
        "[mqtt]",
        "[limits]\nx = [0, 1]\n[mqtt]",
        "no model has a channel",
    ),
    "another rate": ("speed =", "sample_rate_hz = 50\nspeed =", "was trained on 10"),
    "no root": ("[mqtt]", '[updates]\nroot = "none.json"\n[mqtt]', "none.json"),
}


def test_what_only_a_device_could_object_to_does_not_end_the_one_that_runs(
    manager: Manager,
) -> None:
    _configure(manager.folder)
    path = manager.folder / "device.toml"
    good = path.read_text()
    manager.start()
    manager.ready()
    for old, new, _ in WRONG.values():
        assert good.count(old) == 1
        path.write_text(good.replace(old, new))
        manager.reload("READY=1\nSTATUS=as before")
    log = manager.stop()
    for _, _, message in WRONG.values():
        assert message in log


def test_a_silent_sensor_does_not_hold_up_the_end(manager: Manager) -> None:
    pytest.importorskip("serial", reason="the silent sensor is a serial line")
    line, port = os.openpty()
    _configure(manager.folder)
    path = manager.folder / "device.toml"
    text = path.read_text()
    channels = [f"{sensor}_{axis}" for sensor in ("accelerometer", "gyroscope") for axis in "xyz"]
    silent = f'[source]\ndriver = "serial"\nport = "{os.ttyname(port)}"\nchannels = {channels}\n'
    path.write_text(text[: text.index("[source]")] + silent + text[text.index("[mqtt]") :])
    manager.start()
    start_s = manager.ready()
    began_s = time.monotonic()
    manager.stop()
    os.close(line)
    os.close(port)
    assert time.monotonic() - began_s < 5 + start_s


def test_a_model_that_fails_its_self_test_is_never_ready(manager: Manager) -> None:
    from edgeml.bundle import Bundle, pack

    bundle = Bundle.read(manager.folder / "activity.tflite")
    assert bundle.golden is not None
    wrong = bundle.golden._replace(outputs=bundle.golden.outputs[::-1])
    (manager.folder / "wrong.tflite").write_bytes(pack(bundle.tflite, bundle.manifest, wrong))
    _configure(manager.folder, model="wrong.tflite")
    service = manager.start()
    _, log = service.communicate(timeout=DEADLINE_S)
    assert service.returncode == 11, log
    assert "self-test fails" in log
    assert "Traceback" not in log


def test_what_is_wrong_with_a_driver_is_said_with_the_file_it_stands_in(manager: Manager) -> None:
    _configure(manager.folder)
    path = manager.folder / "device.toml"
    path.write_text(path.read_text().replace('driver = "replay"', 'driver = "relay"'))
    _, log = manager.start().communicate(timeout=DEADLINE_S)
    assert f"{path}: config.source.driver: 'relay' is none of" in log
