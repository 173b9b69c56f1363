"""A device takes an update while it infers, and undoes one that misbehaves; nothing is faked."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from edgeml import Device, Model, Mqtt, Updates
from edgeml.bundle import Bundle, pack
from edgeml.clock import SystemClock
from edgeml.errors import BackendError, ConfigError
from edgeml.fleet.localbroker import LocalBroker
from edgeml.lane import Lane
from edgeml.ota.host import Change
from edgeml.ota.probation import Limits
from edgeml.ota.store import Store
from edgeml.result import Result
from edgeml.sensors.sample import Window
from edgeml.sync.entries import Caps, Kind
from edgeml.sync.outbox import Outbox
from edgeml.updatesite import Site
from edgeml.updating import Updating

from .publisher import ACTIVITY, Publisher

DEADLINE_S = 300.0


class Story:
    """The changes of a device, and something to wait on."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._more = threading.Condition()

    def __call__(self, change: Change) -> None:
        with self._more:
            self.changes.append(change)
            self._more.notify_all()

    def has(self, event: str) -> bool:
        return any(change.event == event for change in self.changes)


def windows(until: Callable[[], bool]) -> Iterator[Window]:
    """Noise in the model's shape, at a sensor's pace, for as long as wanted."""
    rng = np.random.default_rng(3)
    give_up_s = time.monotonic() + DEADLINE_S
    for i in itertools.count():
        if until():
            return
        assert time.monotonic() < give_up_s, f"the device did not get there in {i} windows"
        data = rng.normal(0, 5, (100, 6)).astype(np.float32)
        yield Window(float(i), float(i) + 1, data)
        time.sleep(0.001)


def updates(tmp_path: Path, publisher: Publisher, **changed: Any) -> Updates:
    settings = Updates(
        tmp_path / "root.json",
        folder=publisher.out,
        state=tmp_path / "updates",
        check_interval_s=0.2,
        slower=1000.0,
        probation=Limits(windows=100, slower=1000.0, less_sure=1.0),
    )
    return replace(settings, **changed)


def test_the_loop_goes_on_while_the_model_is_replaced_between_two_windows(
    tmp_path: Path, publisher: Publisher
) -> None:
    story = Story()
    versions: list[int] = []
    with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
        device.on_update(story)
        run = device.run(windows(lambda: story.has("healthy")))
        versions.extend(result.model.version for result in run)
    assert [change.event for change in story.changes][:4] == [
        "release_found",
        "permitted",
        "chunks_complete",
        "activated",
    ]
    assert sorted(set(versions)) == [1, 2]
    assert versions == sorted(versions)  # never back and forth
    assert versions.count(2) >= 100


def test_what_was_installed_is_what_starts_the_next_time(
    tmp_path: Path, publisher: Publisher
) -> None:
    story = Story()
    with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
        device.on_update(story)
        for _ in device.run(windows(lambda: story.has("healthy"))):
            pass
    with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
        assert device.model.ref.version == 2


def install(tmp_path: Path, publisher: Publisher, event: str, **changed: Any) -> None:
    """Run a device until something has happened to the release."""
    story = Story()
    settings = updates(tmp_path, publisher, **changed)
    with Device("pump-7", model=ACTIVITY, updates=settings) as device:
        device.on_update(story)
        for _ in device.run(windows(lambda: story.has(event))):
            pass


DIES: Final = """
import os, sys
from edgeml import Device, Updates
device = Device("pump-7", model=sys.argv[1], updates=Updates(
    sys.argv[2] + "/root.json", folder=sys.argv[2] + "/out", state=sys.argv[2] + "/updates"))
print(device.model.ref.version, flush=True)
os._exit(1)
"""


def test_a_process_that_does_not_stay_up_on_probation_goes_back_by_itself(
    tmp_path: Path, publisher: Publisher
) -> None:
    install(tmp_path, publisher, "activated")
    versions = [
        int(
            subprocess.run(
                [sys.executable, "-c", DIES, str(ACTIVITY), str(tmp_path)],
                capture_output=True,
                check=False,
                text=True,
            ).stdout
        )
        for _ in range(Limits().starts + 1)
    ]
    assert versions == [2, 2, 2, 1]


def test_starts_that_end_as_somebody_wished_are_no_crash_loop(
    tmp_path: Path, publisher: Publisher
) -> None:
    install(tmp_path, publisher, "activated")
    for _ in range(Limits().starts + 2):
        with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
            assert device.model.ref.version == 2


def test_a_model_that_was_loaded_already_is_updated_and_stays_its_owners(
    tmp_path: Path, publisher: Publisher
) -> None:
    """As the README begins: Device(model=Model.load(path), updates=…)."""
    story = Story()
    with Model.load(ACTIVITY) as model:
        settings = updates(tmp_path, publisher)
        with Device("pump-7", model=model, updates=settings) as device:
            device.on_update(story)
            versions = [r.model.version for r in device.run(windows(lambda: story.has("healthy")))]
            assert device.model.ref.version == 2
        assert set(versions) == {1, 2}
        assert model.predict(np.zeros((100, 6), np.float32)).model.version == 1
        with Device("pump-7", model=model, updates=settings) as device:
            assert device.model.ref.version == 2
            assert device.update_status()["installed"] == "activity-2"


def test_a_loaded_model_serves_again_where_its_successor_is_undone(
    tmp_path: Path, publisher: Publisher
) -> None:
    install(tmp_path, publisher, "healthy")
    publisher.repository.revoke("activity-2")
    publisher.publish()
    story = Story()
    with Model.load(ACTIVITY) as model:
        with Device("pump-7", model=model, updates=updates(tmp_path, publisher)) as device:
            device.on_update(story)
            for _ in device.run(windows(lambda: device.model is model)):
                pass
        assert model.predict(np.zeros((100, 6), np.float32)).model.version == 1
    assert story.has("revoked")


def test_a_model_that_fails_at_a_window_on_probation_gives_way_without_a_window_lost(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Model.predict

    def failing(self: Model, *given: Any) -> Result:
        if self.ref.version == 2:
            raise BackendError("the interpreter failed at node 3")
        return right(self, *given)

    monkeypatch.setattr(Model, "predict", failing)
    story, seen = Story(), 0
    with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
        device.on_update(story)
        for result in device.run(windows(lambda: story.has("unhealthy"))):
            assert result.model.version == 1
            assert result.start_s == seen
            seen += 1
        standing = device.update_status()
    assert standing["bad"] == ["activity-2"]
    assert standing["reason"] == "crashes: the interpreter failed at node 3"


def test_without_an_update_a_model_that_fails_still_ends_the_run(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Result:
        raise BackendError("the interpreter failed at node 3")

    monkeypatch.setattr(Model, "predict", failing)
    settings = updates(tmp_path, publisher, policy="ask")
    with (
        Device("pump-7", model=ACTIVITY, updates=settings) as device,
        pytest.raises(BackendError, match="node 3"),
    ):
        next(iter(device.run(windows(lambda: False))))


def test_a_candidate_runs_in_the_shadow_of_the_incumbent_first(
    tmp_path: Path, publisher: Publisher
) -> None:
    story = Story()
    settings = updates(tmp_path, publisher, shadow_windows=40, shadow_agreement=0.9)
    with Device("pump-7", model=ACTIVITY, updates=settings) as device:
        device.on_update(story)
        for _ in device.run(windows(lambda: story.has("healthy"))):
            pass
    (activated,) = [change for change in story.changes if change.event == "activated"]
    assert activated.before == "shadowing"
    assert activated.facts["windows"] == 40
    assert activated.facts["agreement"] == 1.0
    assert activated.facts["candidate_us"] > 0


def test_the_first_update_takes_from_the_factorys_bundle_what_is_the_same(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Only the manifest's version differs: the chunks of the model are here."""
    publisher.biggest_file().unlink()
    install(tmp_path, publisher, "healthy")


def test_a_model_that_rotted_on_the_card_is_told_when_the_device_starts(
    tmp_path: Path, publisher: Publisher
) -> None:
    install(tmp_path, publisher, "healthy")
    (held,) = (tmp_path / "updates" / "activity" / "models").glob("*.tflite")
    held.write_bytes(held.read_bytes()[:-1])
    story = Story()
    site = Site(ACTIVITY, tmp_path / "updates", updates(tmp_path, publisher))
    assert site.starts_with() == ACTIVITY
    with Model.load(ACTIVITY) as model:
        site.attach(Lane(model), [story], lambda: None, lambda: False)
    (mended,) = story.changes
    assert (mended.event, mended.before, mended.after) == ("mended", "idle", "idle")
    assert mended.reason == "activity-2 is damaged on this disk; it is not used"


def test_a_release_for_which_time_does_not_matter_is_for_other_sensors(
    tmp_path: Path, publisher: Publisher
) -> None:
    read = Bundle.read(ACTIVITY)
    timeless = read.manifest.replace(inputs=read.manifest.inputs._replace(sample_rate_hz=None))
    path = tmp_path / "timeless.tflite"
    path.write_bytes(pack(read.tflite, timeless))
    site = Site(ACTIVITY, tmp_path / "updates", updates(tmp_path, publisher))
    assert site.starts_with() == ACTIVITY
    assert site.misfit(path) == (
        "wrong sensor: it takes no steady rate, this device gives 10 samples a second"
    )


def test_two_processes_cannot_have_one_folder(tmp_path: Path, publisher: Publisher) -> None:
    settings = updates(tmp_path, publisher)
    with Device("pump-7", model=ACTIVITY, updates=settings):
        other = subprocess.run(
            [sys.executable, "-c", DIES, str(ACTIVITY), str(tmp_path)],
            capture_output=True,
            check=False,
            text=True,
        )
    assert other.returncode == 1
    assert f"is used by process {os.getpid()}" in other.stderr


def test_a_device_of_two_models_says_how_far_each_of_them_is(
    tmp_path: Path, publisher: Publisher
) -> None:
    given = Bundle.read(ACTIVITY)
    second = tmp_path / "second.tflite"
    manifest = given.manifest.replace(name="second")
    second.write_bytes(pack(given.tflite, manifest, given.golden, given.baseline))
    Store(tmp_path / "updates" / "second").change(bad={"second-3": "slow: x"})
    settings = updates(tmp_path, publisher)
    with Device("pump-7", model=[ACTIVITY, second], updates=settings) as device:
        standing = device.update_status()
    assert standing["bad"] == []
    assert list(standing["others"]) == ["second"]
    assert (standing["others"]["second"]["bad"], standing["others"]["second"]["group"]) == (
        ["second-3"],
        "default",
    )


def test_a_device_without_updates_says_so(tmp_path: Path) -> None:
    with Device("pump-7", model=ACTIVITY) as device, pytest.raises(ConfigError, match="no updates"):
        device.on_update(lambda _: None)


def test_updates_that_come_from_nowhere_are_refused(tmp_path: Path, publisher: Publisher) -> None:
    nowhere = updates(tmp_path, publisher, folder=None)
    with pytest.raises(ConfigError, match="name where they come from"):
        Device("pump-7", model=ACTIVITY, updates=nowhere)


def test_updates_that_do_not_start_leave_the_outbox_to_the_next_device(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    sync = Mqtt("mqtt://127.0.0.1:9", "plant", outbox=tmp_path / "outbox.db")
    settings = updates(tmp_path, publisher)
    with monkeypatch.context() as patched:
        patched.setattr(Updating, "start", no_more_threads)
        with pytest.raises(RuntimeError, match="new thread"):
            Device("pump-7", model=ACTIVITY, sync=sync, updates=settings)
    with Device("pump-7", model=ACTIVITY, sync=sync, updates=settings) as device:
        assert device.health().delivery is not None


def test_steps_that_no_outbox_has_heard_of_are_told_by_the_next_start_once(
    tmp_path: Path, publisher: Publisher
) -> None:
    """What a kill between the journal and the outbox leaves: the one has it, the other has not."""
    install(tmp_path, publisher, "healthy")
    sync = Mqtt("mqtt://127.0.0.1:1", "plant", outbox=tmp_path / "outbox.db")
    for _ in range(2):
        with Device("pump-7", model=ACTIVITY, sync=sync, updates=updates(tmp_path, publisher)):
            pass
    outbox = Outbox(tmp_path / "outbox.db", Caps(1 << 20, 1 << 20), SystemClock())
    rows = [json.loads(row) for entry in outbox.read([Kind.EVENT], 1, 99) for row in entry.rows]
    outbox.close()
    said = [(row["kind"], row["fields"]["event"], row["fields"]["release"]) for row in rows]
    steps = ("release_found", "permitted", "chunks_complete", "activated", "healthy")
    assert said == [("update", step, "activity-2") for step in steps]


def test_over_a_broker_alone_the_update_comes_and_every_step_goes_home(
    tmp_path: Path, publisher: Publisher
) -> None:
    settings = updates(tmp_path, publisher, folder=None)
    story = Story()
    with LocalBroker() as broker:
        publisher.seed(broker.url, "plant")
        sync = Mqtt(broker.url, "plant", outbox=tmp_path / "outbox.db", ack="broker")
        with Device("pump-7", model=ACTIVITY, sync=sync, updates=settings) as device:
            device.on_update(story)
            for _ in device.run(windows(lambda: story.has("healthy"))):
                pass
            assert device.model.ref.version == 2
            standing = device.update_status()
    assert standing["state"] == "idle"
    assert standing["installed"] == "activity-2"
