"""A device takes an update while it infers, and undoes one that misbehaves; nothing is faked."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml import Device, Model, Mqtt, Updates
from edgeml.errors import ConfigError
from edgeml.fleet.localbroker import LocalBroker
from edgeml.ota.probation import Limits
from edgeml.ota.updater import Change
from edgeml.sensors.sample import Window

from .publisher import ACTIVITY, Publisher

DEADLINE_S = 60.0


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
    """Noise in the model's shape, for as long as wanted or at most so many."""
    rng = np.random.default_rng(3)
    for i in range(500_000):
        if until():
            return
        data = rng.normal(0, 5, (100, 6)).astype(np.float32)
        yield Window(float(i), float(i) + 1, data)
    raise AssertionError("the device did not get there within 500,000 windows")


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.release(2)
    made.repository.rollout("activity-2", 10_000)
    made.publish()
    (tmp_path / "root.json").write_bytes(made.root)
    return made


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


def test_a_process_that_does_not_stay_up_on_probation_goes_back_by_itself(
    tmp_path: Path, publisher: Publisher
) -> None:
    story = Story()
    settings = updates(tmp_path, publisher)
    with Device("pump-7", model=ACTIVITY, updates=settings) as device:
        device.on_update(story)
        for _ in device.run(windows(lambda: story.has("activated"))):
            pass
    versions = []
    for _ in range(Limits().starts + 1):
        with Device("pump-7", model=ACTIVITY, updates=settings) as device:
            versions.append(device.model.ref.version)
    assert versions == [2, 2, 2, 1]


def test_a_model_that_was_loaded_already_cannot_be_updated_and_that_is_said(
    tmp_path: Path, publisher: Publisher
) -> None:
    with Model.load(ACTIVITY) as model, pytest.raises(ConfigError, match="give its file"):
        Device("pump-7", model=model, updates=updates(tmp_path, publisher))


def test_a_device_without_updates_says_so(tmp_path: Path) -> None:
    with Device("pump-7", model=ACTIVITY) as device, pytest.raises(ConfigError, match="no updates"):
        device.on_update(lambda _: None)


def test_updates_that_come_from_nowhere_are_refused(tmp_path: Path, publisher: Publisher) -> None:
    nowhere = updates(tmp_path, publisher, folder=None)
    with pytest.raises(ConfigError, match="name where they come from"):
        Device("pump-7", model=ACTIVITY, updates=nowhere)


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
