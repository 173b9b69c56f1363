"""`edgeml fleet rollout` through a real broker and repository, with devices that only talk."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeml.cli.main import main
from edgeml.errors import UpdateError
from edgeml.fleet.localbroker import LocalBroker, free_port
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.repository import Repository
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Published
from edgeml.sync.link import Link

ACTIVITY = Path(__file__).resolve().parents[2] / "models" / "activity" / "activity.tflite"
DEADLINE_S = 300.0


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.create()
    made.release([ACTIVITY])
    return made


def _devices_say(broker: LocalBroker, **update: Any) -> None:
    """Twenty devices leave this in their retained states."""
    link = Link(Connection(broker.url), "devices")
    link.open()
    give_up_s = time.monotonic() + DEADLINE_S
    while not link.online:
        assert time.monotonic() < give_up_s
        link.step(0.1)
    waiting = set()
    for i in range(20):
        state = {
            "v": 1, "online": True, "device": f"pump-{i}", "outbox": "x", "epoch": [1, i],
            "time_s": time.time(), "edgeml": "0.1.0", "update": {"group": "default", **update},
        }  # fmt: skip
        topic = topics.device_topic("f", f"pump-{i}", topics.STATE)
        waiting.add(link.publish(Message(topic, json.dumps(state).encode(), retain=True)))
    while waiting:
        assert time.monotonic() < give_up_s
        waiting -= {e.token for e in link.step(0.1) if isinstance(e, Published)}
    link.close()


def _command(repository: Repository, broker: LocalBroker, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "edgeml", "fleet", "rollout", "activity-1", "--fleet", "f",
        "--repo", str(repository.folder.root), "--broker", broker.url, "--json", *more,
    ]  # fmt: skip


def _upto(repository: Repository) -> int | None:
    with repository.open() as ledger:
        rule = contents.rules(ledger).get(("default", "activity"))
    return None if rule is None else rule.upto


def test_a_release_that_everybody_takes_is_led_to_the_end(
    repository: Repository, broker: LocalBroker
) -> None:
    _devices_say(broker, installed="activity-1", bad=[])
    done = subprocess.run(
        _command(repository, broker, "--soak", "0s"),
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ending = json.loads(done.stdout)
    assert (ending["done"], ending["halted"], ending["upto"]) == (True, False, 10_000)
    assert ending["outcomes"] == {"pending": 0, "good": 20, "failed": 0}
    stages = dict.fromkeys(line.split(" %")[0] for line in done.stderr.splitlines())
    assert list(stages) == ["0", "1", "10", "50", "100"]


def test_what_is_not_there_to_be_rolled_out_is_an_error_before_a_broker_is_asked(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = ["--broker", f"mqtt://127.0.0.1:{free_port()}"]
    for release, root, said in (
        ("activity-9", repository.folder.root, "activity-9: no such release here"),
        ("activity-1", tmp_path / "other", f"edgeml repo init {tmp_path / 'other'}"),
    ):
        status = main(["fleet", "rollout", release, "--repo", str(root), *nobody])
        assert status == UpdateError.exit_code
        assert said in capsys.readouterr().err


def test_a_release_that_devices_refuse_is_halted(
    repository: Repository, broker: LocalBroker
) -> None:
    _devices_say(broker, bad=["activity-1"], reason="slow: p95 9 ms, at most 5")
    done = subprocess.run(
        _command(repository, broker),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == UpdateError.exit_code, done.stderr
    ending = json.loads(done.stdout)
    assert ending["halted"]
    assert set(ending["failures"].values()) == {"slow: p95 9 ms, at most 5"}
    assert _upto(repository) == 0


def test_killed_it_leaves_the_stage_that_was_reached(
    repository: Repository, broker: LocalBroker
) -> None:
    _devices_say(broker, installed="activity-0", bad=[])
    leading = subprocess.Popen(_command(repository, broker), stderr=subprocess.PIPE, text=True)
    assert leading.stderr is not None
    assert leading.stderr.readline().startswith("0 %: begins")
    assert leading.stderr.readline().startswith("1 %: ")
    leading.send_signal(signal.SIGKILL)
    leading.wait(DEADLINE_S)
    leading.stderr.close()
    assert _upto(repository) == 100
    repository.refresh()
    with repository.open() as ledger:
        rule = contents.rules(ledger)["default", "activity"]
    assert rule.expires_s <= time.time() + 7200
