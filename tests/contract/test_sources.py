"""What every source keeps, whichever sensor is behind it.

A source is iterable, gives float32 in the shape of its channels with rising
times, ends cleanly when its reader leaves, says in its health what it is
doing, is a SensorError when its device goes away, and leaves no thread behind.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edgeml.errors import SensorError
from edgeml.sensors import (
    Camera,
    Driver,
    IioBuffered,
    IioPolled,
    Live,
    Microphone,
    Mpu6050,
    MqttTopic,
    Patience,
    Replay,
    Sample,
    Sensor,
    SerialLines,
    Source,
    SourceState,
    System,
)
from edgeml.sensors.fake_iio import ACCEL, FakeIio
from edgeml.sensors.fakes import (
    FakeBoard,
    FakeBus,
    FakeCamera,
    FakeMpu6050,
    FakeSoundCard,
    FakeSubscriber,
)

COUNT: Final = 20
BRIEF: Final = Patience(first_pause_s=0.01, longest_pause_s=0.05, silent_after_s=0.4, give_up_s=0.8)
JOIN_S: Final = 300.0


@dataclass
class Rig:
    """A sensor on the bench: its driver, what makes it speak, and how its plug is pulled."""

    driver: Driver
    unplug: Callable[[], None]
    speak: Callable[[], None] | None = None
    shape: tuple[int, ...] = ()
    every_s: float = 0.002


def system(tmp_path: Path) -> Rig:
    for name, text in (("loadavg", "0.5 0 0 1/2 3"), ("cpuinfo", "processor : 0")):
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc" / name).write_text(text)
    driver = System(root=tmp_path, rate_hz=200.0)
    return Rig(driver, partial((tmp_path / "proc/loadavg").unlink, missing_ok=True))


def iio_polled(tmp_path: Path) -> Rig:
    tree = FakeIio(tmp_path)
    driver = IioPolled("bma180", ACCEL, rate_hz=200.0, devices=tree.devices)
    return Rig(driver, tree.unplug)


def iio_buffered(tmp_path: Path) -> Rig:
    tree = FakeIio(tmp_path)
    driver = IioBuffered("bma180", ACCEL, devices=tree.devices, nodes=tree.nodes)
    ticks = itertools.count()

    def speak() -> None:
        with contextlib.suppress(OSError):  # unplugged
            tree.record((1, 2, 3), 1_700_000_000_000_000_000 + next(ticks) * 10_000_000)

    return Rig(driver, tree.unplug, speak)


def mpu6050(tmp_path: Path) -> Rig:
    chip = FakeMpu6050()
    bus = FakeBus({0x68: chip})
    driver = Mpu6050(lambda: bus, rate_hz=500.0)
    return Rig(driver, bus.chips.clear, lambda: chip.measure((0, 0, 9.8), (0, 0, 0)))


def microphone(tmp_path: Path) -> Rig:
    card = FakeSoundCard()
    driver = Microphone(library=card, rate_hz=1000.0)
    return Rig(driver, card.unplug, lambda: card.hear(np.zeros((2, 1), np.float32)))


def camera(tmp_path: Path) -> Rig:
    frames = itertools.repeat(np.zeros((4, 6, 3), np.uint8))
    fake = FakeCamera(frames)

    def unplug() -> None:
        fake.plugged = False

    driver = Camera(size=(4, 6), rate_hz=200.0, backend=fake)
    return Rig(driver, unplug, shape=(4, 6, 3))


def mqtt_topic(tmp_path: Path) -> Rig:
    line = FakeSubscriber()
    driver = MqttTopic(line, "sensors/a", {"x": "x", "y": "y[0]"}, every_s=0.01)

    def unplug() -> None:
        line.online = False

    def speak() -> None:
        if line.online:
            line.publish("sensors/a", b'{"x": 1, "y": [2]}')

    return Rig(driver, unplug, speak)


def serial_lines(tmp_path: Path) -> Rig:
    pytest.importorskip("serial", reason="pyserial is not installed; edgeml[sensors] brings it")
    board = FakeBoard()
    driver = SerialLines(board.port, ["x", "y"], rate_hz=100.0)
    return Rig(driver, board.unplug, lambda: board.say("1,2\n"))


RIGS: Final = (
    system,
    iio_polled,
    iio_buffered,
    mpu6050,
    microphone,
    camera,
    mqtt_topic,
    serial_lines,
)


@pytest.fixture(params=RIGS, ids=lambda make: make.__name__)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """The sensor, speaking in a thread of its own where it does not by itself."""
    found: Rig = request.param(tmp_path)
    over = threading.Event()

    def speak() -> None:
        while found.speak is not None and not over.wait(found.every_s):
            found.speak()

    speaker = threading.Thread(target=speak, name="the sensor itself")
    speaker.start()
    yield found
    over.set()
    speaker.join(JOIN_S)
    found.unplug()


def check(samples: Iterable[Sample], shape: tuple[int, ...]) -> None:
    """Each sample is float32 of this shape, and time rises."""
    last_s = -np.inf
    for sample in samples:
        assert isinstance(sample, Sample)
        assert isinstance(sample.values, np.ndarray)
        assert sample.values.dtype == np.float32
        assert sample.values.shape == shape
        assert isinstance(sample.time_s, float)
        assert sample.time_s > last_s
        last_s = sample.time_s


def source_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "edgeml-source"]


def shape_of(rig: Rig) -> tuple[int, ...]:
    return rig.shape or (len(rig.driver.channel_names),)


def test_a_source_gives_float32_in_the_shape_of_its_channels_with_rising_times(rig: Rig) -> None:
    sensor = Sensor(rig.driver)
    assert isinstance(sensor, Source)
    samples = list(itertools.islice(sensor, COUNT))
    assert len(samples) == COUNT
    check(samples, shape_of(rig))


def test_a_source_says_in_its_health_what_it_is_doing(rig: Rig) -> None:
    sensor = Sensor(rig.driver)
    assert sensor.health().state is SourceState.IDLE
    items = iter(sensor)
    next(items)
    assert sensor.health().state is SourceState.RUNNING
    del items  # the last reference: the generator closes
    health = sensor.health()
    assert health.state is SourceState.CLOSED
    assert health.samples >= 1
    assert health.faults == 0
    assert health.name == rig.driver.name


def test_a_source_can_be_left_and_read_again(rig: Rig) -> None:
    sensor = Sensor(rig.driver)
    for _ in range(2):
        check(itertools.islice(sensor, 3), shape_of(rig))


def test_a_stopped_source_ends(rig: Rig) -> None:
    sensor = Sensor(rig.driver)
    items = iter(sensor)
    next(items)
    sensor.stop()
    # What one read brought is still given, and nothing after it.
    assert sum(1 for _ in items) < 10_000
    assert sensor.health().state is SourceState.CLOSED


def test_a_device_that_goes_away_is_a_sensor_error(rig: Rig) -> None:
    sensor = Sensor(rig.driver)
    items = iter(sensor)
    next(items)
    sensor._patience = BRIEF  # not before it spoke, which may take longer on a busy machine
    rig.unplug()
    with pytest.raises(SensorError, match="is the limit"):
        for _ in items:
            pass
    health = sensor.health()
    assert health.state is SourceState.FAILED
    assert health.faults >= 2
    assert health.last_fault


def test_a_source_behind_a_queue_is_the_same_source_and_leaves_no_thread(rig: Rig) -> None:
    live = Live(Sensor(rig.driver), capacity=1000)
    samples = list(itertools.islice(live, COUNT))
    assert live.close()
    check(samples, shape_of(rig))
    assert live.channel_names == rig.driver.channel_names
    assert not source_threads()


def test_a_source_read_by_blocks_gives_the_same_samples(rig: Rig) -> None:
    blocks = list(itertools.islice(Sensor(rig.driver).blocks(), 3))
    assert all(len(block) for block in blocks)
    check((sample for block in blocks for sample in block), shape_of(rig))


def test_a_device_that_goes_away_behind_a_queue_is_a_sensor_error_and_leaves_no_thread(
    rig: Rig,
) -> None:
    sensor = Sensor(rig.driver)
    live = Live(sensor, capacity=1000)
    items = iter(live)
    next(items)
    sensor._patience = BRIEF  # not before it spoke, which may take longer on a busy machine
    rig.unplug()
    with pytest.raises(SensorError, match="is the limit"):
        for _ in items:
            pass
    assert not source_threads()


def test_a_driver_that_is_closed_twice_or_never_opened_raises_nothing(rig: Rig) -> None:
    rig.driver.close()
    rig.driver.open()
    rig.driver.close()
    rig.driver.close()


def recordings(tmp_path: Path) -> Iterator[Replay]:
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    yield Replay(values, sample_rate_hz=10.0)
    np.savez(tmp_path / "a.npz", samples=values, sample_rate_hz=10.0)
    yield Replay(tmp_path / "a.npz")
    rows = "\n".join(f"{i / 10},{i},{i},{i}" for i in range(20))
    (tmp_path / "a.csv").write_text(f"time_s,x,y,z\n{rows}\n")
    yield Replay(tmp_path / "a.csv")


def test_a_recording_keeps_the_same_and_ends_by_itself(tmp_path: Path) -> None:
    for replay in recordings(tmp_path):
        assert isinstance(replay, Source)
        samples = list(replay)
        assert len(samples) == 20
        check(samples, (3,))
        queued = list(Live(replay, capacity=4, policy="block"))
        np.testing.assert_array_equal([s.values for s in queued], [s.values for s in samples])
        assert not source_threads()
