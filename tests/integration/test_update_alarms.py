"""A model that does worse after its probation: the device says so, and the rollout counts it."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeml import Device, Mqtt
from edgeml.fleet import addresses
from edgeml.fleet.batches import EventRow, parse_events
from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.reports import ALARMS, Reports
from edgeml.ota.probation import RECENT, Limits
from edgeml.ota.transport import Folder
from edgeml.releases.rollout import BUCKETS, Rule
from edgeml.sensors.sample import Window
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Received
from edgeml.sync.link import Link
from tests.waiting import until

from .publisher import ACTIVITY, Publisher
from .test_device_updates import DEADLINE_S, Story, updates

FLEET = "plant"
FAMILIAR, STRANGE = 0.1, 5.0
"""Noise in which the model is sure that nobody moves (0.996), and in which less so (0.93)."""


class Sensor:
    """Noise of a strength that changes."""

    def __init__(self) -> None:
        self.strength = FAMILIAR
        self.given = 0

    def windows(self) -> Iterator[Window]:
        rng = np.random.default_rng(3)
        give_up_s = time.monotonic() + DEADLINE_S
        for i in itertools.count():
            assert time.monotonic() < give_up_s, f"the device did not get there in {i} windows"
            data = rng.normal(0, self.strength, (100, 6)).astype(np.float32)
            self.given += 1
            yield Window(float(i), float(i) + 1, data)
            time.sleep(0.0005)


class Conductor:
    """What leads a release through the fleet, as far as it listens."""

    def __init__(self, url: str, release: str) -> None:
        kinds = (topics.STATE, topics.EVENTS)
        heard = tuple(topics.device_topic(FLEET, "+", kind) for kind in kinds)
        self._link = Link(Connection(url), "conductor", lambda _: heard)
        self._reports = Reports(release)
        self.alarms: list[EventRow] = []
        self._link.open()
        until(lambda: self.failures() == {} and self._link.online)

    def failures(self) -> dict[str, str]:
        """Of the release, by device, as far as they have been heard of."""
        for event in self._link.step(0.05):
            if isinstance(event, Received):
                self._reports.hear(event.topic, event.payload, 0.0)
                if addresses.parse(event.topic).channel == topics.EVENTS:
                    rows = parse_events(event.payload).events
                    self.alarms += [row for row in rows if row.kind in ALARMS]
        everybody = Rule(self._reports.release, "default", BUCKETS, 0, 1 << 39)
        return self._reports.failures(everybody)

    def close(self) -> None:
        self._link.close()


def test_a_model_that_grows_unsure_is_an_alarm_that_the_rollout_hears_once(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is published at the broker, which is told from a late answer by waiting only.
    monkeypatch.setattr("edgeml.updating.transports_of", lambda *_: [Folder(publisher.out)])
    limits = Limits(windows=100, slower=1000.0, less_sure=0.03)
    settings = updates(tmp_path, publisher, probation=limits)
    story, sensor = Story(), Sensor()
    with LocalBroker() as broker:
        conductor = Conductor(broker.url, "activity-2")
        sync = Mqtt(broker.url, FLEET, outbox=tmp_path / "outbox.db", ack="broker")
        with Device("pump-7", model=ACTIVITY, sync=sync, updates=settings) as device:
            device.on_update(story)
            for _ in device.run(sensor.windows()):
                if story.has("healthy"):
                    break
            assert conductor.failures() == {}
            sensor.strength, sensor.given = STRANGE, 0
            for _ in device.run(sensor.windows()):
                if sensor.given > 3 * RECENT:
                    break
        until(lambda: bool(conductor.failures()))
        ((device_id, reason),) = conductor.failures().items()
        conductor.close()
    assert device_id == "pump-7"
    assert reason.startswith("confidence: unsure: a mean score of 0.9")
    # That noise is no recording of anybody is told as well, and blamed on nobody.
    (alarm,) = [one for one in conductor.alarms if one.fields.get("of") != "inputs"]
    assert (alarm.kind, alarm.fields["release"]) == ("confidence", "activity-2")
