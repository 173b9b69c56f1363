"""Lines that die without a word: packets get lost, late or swallowed, and no end is told.

A device in one network namespace, broker and ingest in another, and a wire in
between. A proxy can only close a connection, and the kernel then tells both
ends; here nobody says anything, so each end has to find out by itself.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeml.fleet.localbroker import find_mosquitto
from tests.faults.accounts import settle
from tests.faults.wire import NoWireError, Wire

pytestmark = pytest.mark.faults

PORT = 1883
KEEPALIVE_S = 5
DEADLINE_S = 120.0
CONFIGURATION = f"listener {PORT} 0.0.0.0\nallow_anonymous true\n"


class Site:
    """A device at the near end of a wire, broker and ingest at the far one."""

    def __init__(self, home: Path) -> None:
        mosquitto = find_mosquitto()
        if mosquitto is None:
            pytest.fail("the fault runs need Mosquitto: sudo apt install mosquitto")
        self.home = home
        self.log = (home / "log").open("ab")
        (home / "mosquitto.conf").write_text(CONFIGURATION)
        self._broker_command = (mosquitto, "-c", home / "mosquitto.conf")
        self.wire = Wire(home.name)
        self.broker = self.start_broker()
        url = f"mqtt://{self.wire.far_address}:{PORT}"
        self._ingest = self._start(
            self.wire.far, sys.executable, "-m", "edgeml", "fleet", "ingest", "--broker", url,
            "--fleet", "faults", "--store", home / "store.db", "--reconnect-max-s", "0.3",
        )  # fmt: skip
        self.device = self._start(
            self.wire.near, sys.executable, Path(__file__).with_name("device.py"), "d0", url, home,
            home / "d0.db", 0, 1 << 28, KEEPALIVE_S,
        )  # fmt: skip

    def start_broker(self) -> "subprocess.Popen[bytes]":
        return self._start(self.wire.far, *self._broker_command)

    def _start(self, namespace: str, *command: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.wire.inside(namespace, *command),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.log,
        )  # fmt: skip

    def stored(self) -> int:
        """How many results have arrived."""
        query = "SELECT count(*) FROM results"
        try:
            done = subprocess.run(
                [sys.executable, "-c", _COUNT, str(self.home / "store.db"), query],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        except subprocess.CalledProcessError:
            return 0  # the store is not there yet
        return int(done.stdout)

    def connections(self) -> int:
        """How many connections to the broker exist at the device's end."""
        command = self.wire.inside(self.wire.near, "ss", "-Htn", "state", "established")
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        return len(found.stdout.splitlines())

    def more_arrives(self, than: int) -> None:
        wait_until(lambda: self.stored() > than)

    def settle(self) -> None:
        """Stop producing, let everything arrive, and hold the store to it."""
        (self.home / "stop").touch()
        assert self.device.wait(DEADLINE_S) == 0, (self.home / "log").read_text()[-3000:]
        self._ingest.send_signal(signal.SIGTERM)
        assert self._ingest.wait(DEADLINE_S) == 0
        account = settle("d0", self.home, self.home / "store.db", self.home / "d0.db")
        assert account.given_up == 0

    def close(self) -> None:
        for process in (self.device, self._ingest, self.broker):
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self.wire.close()
        self.log.close()


_COUNT = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    try:
        made = Site(tmp_path)
    except NoWireError as exc:
        pytest.skip(f"{exc}")
    try:
        made.more_arrives(than=0)
        yield made
    finally:
        made.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_wire_that_loses_and_delays_packets_loses_no_result(site: Site) -> None:
    site.wire.loss, site.wire.delay_s = 0.15, 0.05
    before = site.stored()
    site.more_arrives(than=before + 500)
    wait_until(lambda: site.wire.lost > 20)
    site.wire.loss = site.wire.delay_s = 0.0
    site.settle()


def test_a_wire_that_is_silent_for_a_while_loses_no_result(site: Site) -> None:
    site.wire.cut = True
    wait_until(lambda: site.wire.lost > 3)
    assert site.connections() == 1, "somebody was told"
    site.wire.cut = False
    site.more_arrives(than=site.stored())
    site.settle()


def test_a_connection_that_a_router_forgot_is_given_up_for_a_new_one(site: Site) -> None:
    """Half open: both ends think that it is there, and nothing that is sent on it ever arrives."""
    site.wire.forget()
    before = site.stored()
    wait_until(lambda: site.wire.lost > 3)
    assert site.connections() == 1, "somebody was told"
    # Nothing but the missing answer to a ping can tell the device.
    site.more_arrives(than=before + 200)
    site.settle()


def test_a_broker_that_dies_behind_a_silent_wire_loses_no_result(site: Site) -> None:
    site.wire.cut = True
    site.broker.kill()
    site.broker.wait()
    wait_until(lambda: site.wire.lost > 3)
    assert site.connections() == 1, "somebody was told"
    site.broker = site.start_broker()
    site.wire.cut = False
    site.more_arrives(than=site.stored())
    site.settle()
