"""A device composed of real parts: the shipped model, recordings, an outbox, a broker."""

import itertools
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeml import Cascade, Device, Model, Mqtt, Result
from edgeml.bundle import Bundle, pack
from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, InputError, SensorError
from edgeml.fleet.localbroker import LocalBroker, free_port
from edgeml.sensors import Live, Mpu6050, Replay, Sample, Sensor, Window
from edgeml.sensors.fakes import FakeBus, FakeMpu6050
from edgeml.streams import Models

DATA = resources.files("edgeml.demo") / "data"


@pytest.fixture
def bundle() -> Path:
    return Path(str(DATA / "activity.tflite"))


@pytest.fixture
def recordings() -> Replay:
    return Replay(str(DATA / "recordings.npz"), start_s=1_700_000_000.0)


def _renamed(bundle: Path, name: str, labels: tuple[str, ...] | None = None) -> bytes:
    """The same model under another name, with other labels."""
    read = Bundle.read(bundle)
    outputs = read.manifest.outputs
    outputs = outputs if labels is None else outputs._replace(labels=labels)
    return pack(read.tflite, read.manifest.replace(name=name, outputs=outputs))


def test_a_loop_over_a_source_gives_what_predict_gives(bundle: Path, recordings: Replay) -> None:
    with Device("d", model=bundle) as device, Model.load(bundle) as model:
        results = list(device.run(recordings))
        expected = [model.predict(recording) for recording in recordings.recordings]
    assert [(r.label, r.score, r.outputs) for r in results] == [
        (e.label, e.score, e.outputs) for e in expected
    ]
    starts_s = recordings.start_times_s(1_700_000_000.0)
    assert [r.start_s for r in results] == pytest.approx(starts_s)
    assert all(r.end_s - r.start_s == pytest.approx(9.9) for r in results)


def test_run_takes_windows_as_well_as_samples(bundle: Path, recordings: Replay) -> None:
    windows = [Window(float(i), float(i) + 9.9, r) for i, r in enumerate(recordings.recordings)]
    with Device("d", model=bundle) as device:
        assert [r.start_s for r in device.run(windows)] == [float(i) for i in range(40)]


def test_the_label_is_right_on_the_recordings(bundle: Path, recordings: Replay) -> None:
    with Device("d", model=bundle) as device:
        labels = [result.label for result in device.run(recordings)]
    assert recordings.labels is not None
    right = np.mean([a == b for a, b in zip(labels, recordings.labels, strict=True)])
    assert right >= 0.95


def test_a_dead_broker_changes_nothing_but_the_delivery(
    bundle: Path, recordings: Replay, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    sync = Mqtt(f"mqtt://127.0.0.1:{free_port()}", outbox=tmp_path / "outbox.db")
    with Device("d", model=bundle, sync=sync) as device:
        assert len(list(device.run(recordings))) == 40
        assert not device.wait_delivered(0.2)
        health = device.health()
        assert health.results == 40
        assert health.delivery is not None
        assert not health.delivery.connected
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 30
    assert set(threading.enumerate()) <= before


def test_what_was_not_delivered_goes_out_the_next_time(
    bundle: Path, recordings: Replay, tmp_path: Path
) -> None:
    port = free_port()
    sync = Mqtt(f"mqtt://127.0.0.1:{port}", outbox=tmp_path / "outbox.db", ack="broker")
    with Device("d", model=bundle, sync=sync) as device:
        assert len(list(device.run(recordings))) == 40
    with LocalBroker(port=port), Device("d", model=bundle, sync=sync) as device:
        assert device.wait_delivered(60)


def test_a_missing_stretch_and_a_bad_reading_are_counted_in_health(
    bundle: Path, recordings: Replay
) -> None:
    samples = list(recordings)
    samples[10].values[0] = np.nan
    with Device("d", model=bundle) as device:
        assert len(list(device.run(samples))) == 39
        health = device.health()
    (windows,) = health.windows
    assert windows.not_finite == 1
    assert windows.gaps == 39
    assert health.p50_us > 0


def test_columns_in_another_order_are_refused(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "swapped.csv"
    path.write_text(
        "gyroscope_x,gyroscope_y,gyroscope_z,accelerometer_x,accelerometer_y,accelerometer_z\n"
        "0,0,0,0,0,0\n"
    )
    with Device("d", model=bundle) as device, pytest.raises(SensorError, match="channels="):
        list(device.run(Replay(path, sample_rate_hz=10)))


def test_a_source_with_other_channels_is_refused(bundle: Path) -> None:
    with Device("d", model=bundle) as device, pytest.raises(SensorError, match="not the model's"):
        list(device.run([Sample(0.0, np.zeros(3, np.float32))]))


@pytest.mark.parametrize("device_id", ["", "a/b", "pump 7", "x" * 65, "ü"])
def test_an_id_that_cannot_be_a_topic_is_refused(device_id: str, bundle: Path) -> None:
    with pytest.raises(ConfigError, match="device id"):
        Device(device_id, model=bundle)


def test_a_model_that_was_handed_in_stays_open(bundle: Path, recordings: Replay) -> None:
    with Model.load(bundle) as model:
        with Device("d", model=model) as device:
            assert len(list(device.run(recordings))) == 40
        assert model.predict(recordings.recordings[0]).label == "standing"


def test_an_unknown_policy_is_found_before_the_first_window(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'hold'"):
        Device("d", model=bundle, on_nan="holt")


def test_several_models_see_the_same_samples(bundle: Path, recordings: Replay) -> None:
    with Model.load(bundle) as second, Device("d", model=[bundle, second]) as device:
        results = list(device.run(recordings))
        assert len(results) == 80
        assert results[0::2] != results[1::2]
        assert [r.outputs for r in results[0::2]] == [r.outputs for r in results[1::2]]
        assert len(device.health().windows) == 2
        assert len(device.models) == 2


def test_a_cascade_asks_the_costly_model_only_where_the_cheap_one_found_reason(
    bundle: Path, recordings: Replay
) -> None:
    cascade = Cascade(gate=bundle, then=bundle, when="walking")
    with Device("d", model=cascade) as device:
        results = list(device.run(recordings))
    assert recordings.labels is not None
    walking = recordings.labels.count("walking")
    assert len(results) == 40 + walking
    by_function = Cascade(bundle, bundle, lambda result: result.score > 2)
    with Device("d", model=by_function) as device:
        assert len(list(device.run(recordings))) == 40


def test_a_cascade_that_can_never_pass_is_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'walking'"):
        Device("d", model=Cascade(bundle, bundle, "wlaking"))


def test_no_model_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="one model at least"):
        Device("d", model=[])


def test_an_action_is_called_once_when_its_label_begins_and_once_when_it_ends(
    bundle: Path, recordings: Replay
) -> None:
    calls: list[tuple[str, float]] = []

    def began(result: Result) -> None:
        calls.append(("began", result.start_s))

    def ended(result: Result) -> None:
        calls.append(("ended", result.start_s))

    with Device("d", model=bundle) as device:
        device.on("running", began, ended=ended, windows=2, model="activity")
        labels = [result.label for result in device.run(recordings)]
    first = labels.index("running")
    after = first + labels[first:].index(next(x for x in labels[first:] if x != "running"))
    starts_s = recordings.start_times_s(1_700_000_000.0)
    assert [edge for edge, _ in calls] == ["began", "ended"]
    assert [at for _, at in calls] == pytest.approx([starts_s[first + 1], starts_s[after + 1]])


def _calls(what: Models, recordings: Replay, windows: int, model: str | None) -> list[str]:
    calls: list[str] = []
    with Device("d", model=what) as device:
        device.on(
            "running",
            lambda result: calls.append(f"{result.model.name} began"),
            ended=lambda _: calls.append("ended"),
            windows=windows,
            model=model,
        )
        for _ in device.run(recordings):
            pass
    return calls


@pytest.mark.parametrize("windows", [1, 2])
def test_a_model_without_the_label_beside_the_one_that_has_it_neither_begins_nor_ends_it(
    bundle: Path, recordings: Replay, windows: int
) -> None:
    motion = _renamed(bundle, "motion", ("still", "b", "c", "d"))
    alone = _calls(bundle, recordings, windows, None)
    assert alone == ["activity began", "ended"]
    assert _calls([bundle, motion], recordings, windows, None) == alone
    assert _calls(Cascade(motion, bundle, ("still", "b", "c", "d")), recordings, windows, None) == (
        alone
    )


def test_two_models_that_have_the_label_are_each_watched_by_itself(
    bundle: Path, recordings: Replay
) -> None:
    twin = _renamed(bundle, "twin")
    assert _calls([bundle, twin], recordings, 2, None) == [
        "activity began",
        "twin began",
        "ended",
        "ended",
    ]
    assert _calls([bundle, twin], recordings, 2, "twin") == ["twin began", "ended"]


def test_a_label_of_the_model_behind_a_gate_ends_when_the_gate_lets_nothing_pass(
    bundle: Path, recordings: Replay
) -> None:
    gate = _renamed(bundle, "gate")
    assert _calls(Cascade(gate, bundle, "running"), recordings, 2, "activity") == [
        "activity began",
        "ended",
    ]


def test_an_action_on_a_label_or_model_that_is_not_there_is_refused(bundle: Path) -> None:
    with Device("d", model=bundle) as device:
        with pytest.raises(ConfigError, match="did you mean 'running'"):
            device.on("runing", print)
        with pytest.raises(ConfigError, match="did you mean 'activity'"):
            device.on("running", print, model="activty")


def test_updates_that_are_busy_have_no_longer_to_end_than_the_device(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    device = Device("d", model=bundle)
    monkeypatch.setattr(device, "_updating", SimpleNamespace(close=asked.append))
    device.close(1.5)
    assert asked == [1.5]


def test_a_closed_device_does_not_run(bundle: Path, recordings: Replay) -> None:
    device = Device("d", model=bundle)
    device.close()
    with pytest.raises(ConfigError, match="closed"):
        list(device.run(recordings))


class Wave:
    """A live source: readings that its queue has room for, then silence until it is stopped."""

    live = True

    def __init__(self) -> None:
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Sample]:
        for i in range(250):
            yield Sample(i / 10, np.full(6, np.sin(i), np.float32))
        self._stop.wait(60)

    def stop(self) -> None:
        self._stop.set()


def test_a_live_source_has_a_thread_of_its_own_that_ends_with_the_run(bundle: Path) -> None:
    before = set(threading.enumerate())
    with Device("d", model=bundle) as device:
        results = list(itertools.islice(device.run(Wave()), 3))
        health = device.health()
    assert [r.end_s - r.start_s for r in results] == pytest.approx([9.9] * 3)
    assert health.sources[""].delivered >= 200
    assert health.sources[""].dropped == 0
    assert set(threading.enumerate()) <= before


def test_a_tick_ends_the_run_even_when_nothing_comes(bundle: Path) -> None:
    class Silent(Wave):
        def __iter__(self) -> Iterator[Sample]:
            self._stop.wait(60)
            return iter(())

    ticks = iter([True, False])
    with Device("d", model=bundle) as device:
        assert list(device.run(Silent(), tick=lambda: next(ticks))) == []


def test_a_tick_ends_the_run_in_a_pause_of_a_paced_recording(bundle: Path) -> None:
    paused, let_go = threading.Event(), threading.Event()

    class Pausing(ManualClock):
        def sleep(self, seconds: float) -> None:
            paused.set()
            let_go.wait(60)
            super().sleep(seconds)

    def tick() -> bool:
        if paused.is_set():
            let_go.set()
        return not paused.is_set()

    source = Replay(np.zeros((5, 6)), sample_rate_hz=10, speed=1.0, clock=Pausing())
    began_s = time.monotonic()
    with Device("d", model=bundle) as device:
        assert list(device.run(source, tick=tick)) == []
    assert time.monotonic() - began_s < 50


def test_an_unknown_overrun_policy_names_the_nearest(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'drop_oldest'"):
        Device("d", model=bundle, overrun="drop_odlest")


def test_what_is_neither_sample_nor_window_is_named(bundle: Path) -> None:
    with Device("d", model=bundle) as device, pytest.raises(InputError, match="gave ndarray"):
        list(device.run([np.zeros((100, 6), np.float32)]))  # type: ignore[list-item]


def test_a_url_is_not_settings(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="it should be edgeml"):
        Device("d", model=bundle, sync="mqtt://broker")  # type: ignore[arg-type]


def test_a_recording_at_another_rate_is_refused(bundle: Path) -> None:
    fast = Replay(np.zeros((500, 6), np.float32), sample_rate_hz=50)
    with Device("d", model=bundle) as device, pytest.raises(SensorError, match="trained on 10"):
        list(device.run(fast))


def test_a_sensor_that_is_set_to_another_rate_is_refused_before_it_is_opened(bundle: Path) -> None:
    chip = {0x68: FakeMpu6050()}
    with Device("d", model=bundle) as device:
        device.check(Sensor(Mpu6050(lambda: FakeBus(chip), rate_hz=10)))
        fast = Sensor(Mpu6050(lambda: FakeBus(chip)))
        for source in (fast, Live(fast, capacity=400)):
            with pytest.raises(SensorError, match=r"100 samples .* on 10: give the sensor that"):
                device.check(source)


def test_samples_that_come_at_another_rate_than_the_model_s_end_the_run(bundle: Path) -> None:
    row = np.zeros(6, np.float32)
    with Device("d", model=bundle) as device:
        results = device.run(Sample(1e9 + i / 100, row) for i in range(1000))
        with pytest.raises(SensorError, match=r"100 samples come a second; .* trained on 10:"):
            list(results)


def test_samples_that_make_no_window_are_not_passed_over_in_silence(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = Replay(np.zeros((99, 6), np.float32), sample_rate_hz=10)
    with Device("d", model=bundle) as device:
        assert list(device.run(short)) == []
    assert "99 samples made no window of 100" in caplog.text
