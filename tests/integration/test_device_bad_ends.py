"""A device on probation whose process ends badly, whose disk is full, or whose line is slow."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeml import Device, Model, Mqtt
from edgeml.bundle import Bundle, pack
from edgeml.errors import ConfigError, SensorError
from edgeml.fleet import addresses
from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.selfreports import parse_state
from edgeml.lane import Cascade
from edgeml.ota.host import Change
from edgeml.ota.journal import Held, Journal
from edgeml.ota.probation import Limits
from edgeml.ota.states import Event
from edgeml.ota.store import Store
from edgeml.ota.transport import Folder
from edgeml.releases.chunk import digest_of
from edgeml.result import Result
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Received
from edgeml.sync.link import Link
from edgeml.sync.messages import State
from tests.waiting import until

from .fakedevice import full
from .publisher import ACTIVITY, Publisher
from .test_device_updates import DEADLINE_S, updates, windows

FLEET = "plant"


def bundle(tmp_path: Path, name: str, version: int, labels: tuple[str, ...] = ()) -> Path:
    """The activity model under another name, its labels too where they are given."""
    given = Bundle.read(ACTIVITY)
    outputs = given.manifest.outputs
    outputs = outputs._replace(labels=labels or outputs.labels)
    manifest = given.manifest.replace(name=name, version=version, outputs=outputs)
    path = tmp_path / f"{name}-{version}.tflite"
    path.write_bytes(pack(given.tflite, manifest))
    return path


def put_on_probation(tmp_path: Path, name: str = "activity") -> Store:
    """Version 2 of a model as an updater leaves it when it has taken over."""
    data = bundle(tmp_path, name, 2).read_bytes()
    held = Held(f"{name}-2", digest_of(data))
    store = Store(tmp_path / "updates" / name)
    store.step(Event.RELEASE_FOUND, candidate=held)
    store.step(Event.PERMITTED)
    store.path_of(held).write_bytes(data)
    store.step(Event.CHUNKS_COMPLETE)
    store.activate()
    return store


def journal(tmp_path: Path) -> Journal:
    return Journal.parse((tmp_path / "updates" / "activity" / "journal.json").read_bytes())


def test_a_process_that_an_exception_ends_on_probation_goes_back_by_itself(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Such as a program that does not know the new model's labels."""
    put_on_probation(tmp_path)
    versions = []
    for _ in range(Limits().starts + 1):
        with (
            contextlib.suppress(KeyError),
            Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device,
        ):
            versions.append(device.model.ref.version)
            raise KeyError("walking")
    assert versions == [2, 2, 2, 1]


def test_a_device_that_cannot_be_made_on_probation_counts_as_a_start(
    tmp_path: Path, publisher: Publisher
) -> None:
    put_on_probation(tmp_path)
    settings = updates(tmp_path, publisher)
    for _ in range(2):
        with pytest.raises(ConfigError, match="no model has a channel"):
            Device("pump-7", model=ACTIVITY, updates=settings, limits={"none": (0, 1)})
    assert journal(tmp_path).starts == 2


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(1), SensorError("unplugged")])
def test_an_end_that_says_nothing_of_the_model_does_not_count(
    end: BaseException, tmp_path: Path, publisher: Publisher
) -> None:
    put_on_probation(tmp_path)
    settings = updates(tmp_path, publisher)
    with pytest.raises(type(end)), Device("pump-7", model=ACTIVITY, updates=settings):
        raise end
    assert journal(tmp_path).starts == 0


def test_a_gate_without_the_labels_that_its_cascade_waits_for_never_serves(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Once it served, no device could be made with that cascade."""
    labels = offer_other_labels(tmp_path, publisher)
    heard: list[Change] = []
    cascade = Cascade(bundle(tmp_path, "gate", 1), bundle(tmp_path, "then", 1), labels[0])
    with Device("pump-7", model=cascade, updates=updates(tmp_path, publisher)) as device:
        device.on_update(heard.append)
        until(lambda: any(one.event in ("probe_failed", "activated") for one in heard))
    (refused,) = [one for one in heard if one.event in ("probe_failed", "activated")]
    assert refused.reason == f"wrong labels: this device waits for {labels[0]}, which it has not"


def test_a_model_without_the_label_that_an_action_waits_for_never_serves(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Once it served, `device.on` would refuse that label at every start."""
    labels = offer_other_labels(tmp_path, publisher)
    heard: list[Change] = []
    gate, settings = bundle(tmp_path, "gate", 1), updates(tmp_path, publisher, policy="ask")
    with Device("pump-7", model=gate, updates=settings) as device:
        device.on(labels[1], print)
        device.on_update(heard.append)
        until(lambda: device.update_status()["state"] == "waiting")
        device.agree("gate-2")
        until(lambda: any(one.event in ("probe_failed", "activated") for one in heard))
    (refused,) = [one for one in heard if one.event in ("probe_failed", "activated")]
    assert refused.reason == f"wrong labels: this device waits for {labels[1]}, which it has not"


def offer_other_labels(tmp_path: Path, publisher: Publisher) -> tuple[str, ...]:
    """Publish version 2 of `gate` with each label renamed; gives those of version 1."""
    labels = Bundle.read(ACTIVITY).manifest.outputs.labels
    renamed = tuple(label.upper() for label in labels)
    publisher.repository.release([bundle(tmp_path, "gate", 2, renamed)])
    publisher.repository.rollout("gate-2", 10_000)
    publisher.publish()
    return labels


class Stuck(Folder):
    """A line on which nothing comes until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun, self.let_go = threading.Event(), threading.Event()

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        self.begun.set()
        self.let_go.wait(DEADLINE_S)
        yield from super().fetch(names, limit_bytes)


def test_a_wished_end_does_not_count_where_the_updates_are_busy_for_longer(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_probation(tmp_path).change(starts=1)
    stuck = Stuck(publisher.out)
    monkeypatch.setattr("edgeml.updating.transports_of", lambda *_: [stuck])
    device = Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher))
    counted = [journal(tmp_path).starts]
    assert stuck.begun.wait(DEADLINE_S)
    device.close(0.01)
    counted.append(journal(tmp_path).starts)
    stuck.let_go.set()
    device.close(DEADLINE_S)
    counted.append(journal(tmp_path).starts)
    assert counted == [2, 1, 1]


def test_what_hears_of_updates_and_fails_keeps_no_model_from_serving(
    tmp_path: Path, publisher: Publisher
) -> None:
    def fails(_: Change) -> None:
        raise KeyError("lamp")

    with Device("pump-7", model=ACTIVITY, updates=updates(tmp_path, publisher)) as device:
        device.on_update(fails)
        for _ in device.run(windows(lambda: device.model.ref.version == 2)):
            pass


def test_a_full_disk_keeps_no_device_on_probation_from_starting_nor_from_going_back(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = put_on_probation(tmp_path)
    versions = []
    for counted in (0, Limits().starts):
        store.change(starts=counted)
        with monkeypatch.context() as patched:
            patched.setattr("edgeml.ota.store.replace", full)
            settings = updates(tmp_path, publisher, policy="ask")
            with Device("pump-7", model=ACTIVITY, updates=settings) as device:
                versions.append(device.model.ref.version)
    assert versions == [2, 1]


def test_the_first_state_of_a_device_says_what_is_installed_and_what_was_bad(
    tmp_path: Path, publisher: Publisher
) -> None:
    store = put_on_probation(tmp_path)
    store.roll_back("slow: a p95 of 9 ms")
    said: list[State] = []
    with LocalBroker() as broker:
        link = Link(
            Connection(broker.url), "ear", lambda _: (addresses.every_device(FLEET, topics.STATE),)
        )
        link.open()

        def hears() -> bool:
            came = [event for event in link.step(0.05) if isinstance(event, Received)]
            said.extend(parse_state(event.payload) for event in came)
            return any(state.online for state in said)

        sync = Mqtt(broker.url, FLEET, outbox=tmp_path / "outbox.db", ack="broker")
        settings = updates(tmp_path, publisher, policy="ask", check_interval_s=3600.0)
        with Device("pump-7", model=ACTIVITY, sync=sync, updates=settings):
            until(hears)
        link.close()
    first = next(state.update for state in said if state.online)
    assert first is not None
    assert first["bad"] == ["activity-2"]
    assert first["group"] == "default"


class Slow(Folder):
    """A line on which one chunk comes again and again, until what is waited for has happened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun, self.happened = threading.Event(), threading.Event()
        self.in_time = False

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        give_up_s = time.monotonic() + DEADLINE_S
        for name, data in super().fetch(names, limit_bytes):
            yield name, data
            while name.startswith("c/") and time.monotonic() < give_up_s:
                self.begun.set()
                if self.happened.wait(0.05):
                    self.in_time = True
                    return
                yield name, data


def test_a_model_on_probation_is_undone_while_another_ones_download_goes_on(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_probation(tmp_path, "aaa")
    publisher.repository.release([bundle(tmp_path, "bbb", 2)])
    publisher.repository.rollout("bbb-2", 10_000)
    publisher.publish()
    slow = Slow(publisher.out)
    monkeypatch.setattr("edgeml.updating.transports_of", lambda *_: [slow])
    right = Model.predict

    def failing(self: Model, *given: Any) -> Result:
        result = right(self, *given)
        wrong = self.ref.version == 2 and slow.begun.is_set()
        return result._replace(score=float("nan")) if wrong else result

    monkeypatch.setattr(Model, "predict", failing)
    trial = Limits(windows=1_000_000, slower=1000.0, less_sure=1.0)
    settings = updates(tmp_path, publisher, check_interval_s=3600.0, probation=trial)

    def hear(change: Change) -> None:
        if (change.release, change.event) == ("aaa-2", "unhealthy"):
            slow.happened.set()

    models = [bundle(tmp_path, name, 1) for name in ("aaa", "bbb")]
    with Device("pump-7", model=models, updates=settings) as device:
        assert [model.ref.version for model in device.models] == [2, 1]
        device.on_update(hear)
        undone = windows(lambda: slow.in_time and device.models[0].ref.version == 1)
        for _ in device.run(undone):
            pass
