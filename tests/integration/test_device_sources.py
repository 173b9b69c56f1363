"""Several sources in one device, each with a model of its own."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgeml import Device, Model
from edgeml.bundle import Bundle, pack
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import Replay, Sample

DATA = resources.files("edgeml.demo") / "data"
ACTIVITY = Path(str(DATA / "activity.tflite"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The same model under another name."""
    bundle = Bundle.read(ACTIVITY)
    path = tmp_path / "other.tflite"
    path.write_bytes(pack(bundle.tflite, bundle.manifest.replace(name="other"), bundle.golden))
    return path


def recordings(start_s: float) -> Replay:
    return Replay(str(DATA / "recordings.npz"), start_s=start_s)


class Wave:
    """A live source: readings until it is stopped, or until its cable is pulled."""

    live = True

    def __init__(self, fails_after: int | None = None) -> None:
        self._stop = threading.Event()
        self._fails_after = fails_after

    def __iter__(self) -> Iterator[Sample]:
        for i in itertools.count():
            if self._stop.wait(0.0005):
                return
            if i == self._fails_after:
                raise SensorError("the cable is out")
            yield Sample(i / 10, np.full(6, np.sin(i), np.float32))

    def stop(self) -> None:
        self._stop.set()


def test_each_source_goes_to_its_own_model_in_the_order_of_time(other: Path) -> None:
    with Device("d", model={"left": ACTIVITY, "right": other}) as device:
        results = list(device.run({"left": recordings(1000.0), "right": recordings(1003.0)}))
        left = [r for r in results if r.model.name == "activity"]
        right = [r for r in results if r.model.name == "other"]
        alone = list(Device("d", model=ACTIVITY).run(recordings(1000.0)))
    assert [r.outputs for r in left] == [r.outputs for r in alone]
    assert [r.outputs for r in right] == [r.outputs for r in alone]
    assert [r.end_s for r in results] == sorted(r.end_s for r in results)
    assert len(device.health().windows) == 2


def test_live_sources_and_a_recording_run_side_by_side_and_all_threads_end(other: Path) -> None:
    before = set(threading.enumerate())
    with Device("d", model={"imu": ACTIVITY, "file": other}) as device:
        sources: dict[str, Iterable[Sample]] = {"imu": Wave(), "file": recordings(0.0)}
        run = device.run(sources)
        seen = Counter[str]()
        for result in run:
            seen[result.model.name] += 1
            # Which of the two is ahead is the machine's business.
            if seen["other"] >= 40 and seen["activity"] >= 20:
                break
        health = device.health()
        run.close()  # type: ignore[attr-defined]
    assert seen["other"] == 40
    assert health.sources["file"].dropped == 0
    assert set(health.sources) == {"imu", "file"}
    assert set(threading.enumerate()) <= before


def test_a_source_that_fails_ends_the_run_and_stops_the_others(other: Path) -> None:
    before = set(threading.enumerate())
    with (
        Device("d", model={"imu": ACTIVITY, "broken": other}) as device,
        pytest.raises(SensorError, match="the cable is out"),
    ):
        list(device.run({"imu": Wave(), "broken": Wave(fails_after=250)}))
    assert set(threading.enumerate()) <= before


def test_an_action_hears_every_source(other: Path) -> None:
    heard: list[str] = []
    with Device("d", model={"left": ACTIVITY, "right": other}) as device:
        device.on("running", lambda result: heard.append(result.model.name))
        list(device.run({"left": recordings(1000.0), "right": recordings(2000.0)}))
    assert sorted(set(heard)) == ["activity", "other"]


def test_sources_and_models_must_be_those_of_each_other(other: Path) -> None:
    with Device("d", model={"left": ACTIVITY, "right": other}) as device:
        with pytest.raises(ConfigError, match="models are for the sources left, right"):
            list(device.run(recordings(0.0)))
        with pytest.raises(ConfigError, match="no source for the models of right"):
            list(device.run({"left": recordings(0.0)}))
        with pytest.raises(ConfigError, match="did you mean 'right'"):
            list(device.run({"left": recordings(0.0), "rihgt": recordings(0.0)}))
    with Device("d", model=ACTIVITY) as device, pytest.raises(ConfigError, match="no model is for"):
        list(device.run({"left": recordings(0.0)}))


def test_results_that_nothing_would_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing would tell their results apart"):
        Device("d", model={"left": ACTIVITY, "right": ACTIVITY})
    with pytest.raises(ConfigError, match="empty mapping"):
        Device("d", model={})


def test_a_model_that_was_handed_in_stays_open_and_serves_a_source(other: Path) -> None:
    with Model.load(other) as model:
        with Device("d", model={"left": [ACTIVITY], "right": model}) as device:
            assert [m.ref.name for m in device.models] == ["activity", "other"]
        model.predict(np.zeros((100, 6), np.float32))
