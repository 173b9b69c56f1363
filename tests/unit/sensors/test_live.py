"""A full queue does what it was told, and everything it lost is counted."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors import (
    Batch,
    Live,
    Patience,
    Sample,
    Sensor,
    SourceState,
    Window,
    Windower,
    queue_capacity,
)
from edgeml.sensors.fakes import FakeDriver
from edgeml.sensors.several import arrivals, together

DEADLINE_S = 60.0


class Gate:
    """A source that gives numbers, and says when it has given them all."""

    def __init__(self, count: int, *, error: Exception | None = None) -> None:
        self.given = threading.Event()
        self._count = count
        self._error = error

    def __iter__(self) -> Iterator[int]:
        yield from range(self._count)
        self.given.set()
        if self._error is not None:
            raise self._error


def sources() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "edgeml-source"]


@pytest.mark.parametrize(
    ("policy", "kept"), [("drop_oldest", [7, 8, 9]), ("drop_newest", [0, 1, 2])]
)
def test_a_full_queue_keeps_the_end_it_was_told_to(policy: str, kept: list[int]) -> None:
    source = Gate(10)
    live = Live(source, capacity=3, policy=policy)
    live.start()
    assert source.given.wait(DEADLINE_S)
    assert list(live) == kept
    health = live.health()
    assert (health.received, health.delivered, health.dropped) == (10, 3, 7)
    assert getattr(health, f"dropped_{policy.removeprefix('drop_')}") == 7
    assert health.most == 3


def test_block_loses_nothing_and_says_how_often_the_source_waited() -> None:
    live = Live(Gate(1000), capacity=4, policy="block")
    live.start()
    give_up_s = time.monotonic() + DEADLINE_S
    while not live.health().blocked:
        assert time.monotonic() < give_up_s
        time.sleep(0.001)
    assert list(live) == list(range(1000))
    health = live.health()
    assert health.dropped == 0
    assert health.most <= 4


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 50), st.sampled_from(["drop_oldest", "drop_newest"]))
def test_every_sample_is_delivered_or_counted(count: int, capacity: int, policy: str) -> None:
    live = Live(Gate(count), capacity=capacity, policy=policy)
    got = list(live)
    health = live.health()
    assert got == sorted(set(got))
    assert health.received == count == len(got) + health.dropped
    assert health.depth == 0


class Bursts:
    """A source that gives several at once."""

    def __init__(self, sizes: list[int]) -> None:
        self.given = threading.Event()
        self._sizes = sizes

    def __iter__(self) -> Iterator[int]:
        return (item for block in self.blocks() for item in block)

    def blocks(self) -> Iterator[list[int]]:
        at = 0
        for size in self._sizes:
            yield list(range(at, at + size))
            at += size
        self.given.set()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), max_size=20),
    st.integers(1, 50),
    st.sampled_from(["drop_oldest", "drop_newest", "block"]),
)
def test_a_source_of_blocks_is_bounded_and_counted_by_the_sample(
    sizes: list[int], capacity: int, policy: str
) -> None:
    live = Live(Bursts(sizes), capacity=capacity, policy=policy)
    got = list(live)
    health = live.health()
    assert got == sorted(set(got))
    assert health.received == sum(sizes) == len(got) + health.dropped
    assert health.depth == 0
    if policy == "block":
        assert got == list(range(sum(sizes)))
    else:
        assert health.most <= capacity


@pytest.mark.parametrize(
    ("policy", "kept"), [("drop_oldest", [9, 10, 11, 12]), ("drop_newest", [0, 1, 2, 3, 4, 5])]
)
def test_room_is_made_by_whole_blocks_of_the_oldest_and_parts_of_the_newest(
    policy: str, kept: list[int]
) -> None:
    source = Bursts([5, 4, 4])
    live = Live(source, capacity=6, policy=policy)
    live.start()
    assert source.given.wait(DEADLINE_S)
    assert list(live) == kept
    assert live.health().dropped == 13 - len(kept)


def test_the_sources_error_comes_after_all_that_it_gave() -> None:
    live = Live(Gate(5, error=SensorError("unplugged")), capacity=10)
    got: list[int] = []
    with pytest.raises(SensorError, match="unplugged"):
        got.extend(item for item in live)
    assert got == [0, 1, 2, 3, 4]
    assert not sources()


def test_leaving_the_loop_stops_the_sensor_and_its_thread() -> None:
    clock = ManualClock()
    driver = FakeDriver((Sample(float(i), np.zeros(1, np.float32)) for i in range(10**9)), clock)
    live = Live(Sensor(driver, clock=clock), capacity=5)
    for _ in live:
        break
    assert not sources()
    assert driver.closed == 1
    health = live.health()
    assert health.source is not None
    assert health.source.state is SourceState.CLOSED
    assert health.received == health.delivered + health.dropped + health.left


def test_close_ends_a_source_that_waits_for_room() -> None:
    live = Live(Gate(100), capacity=1, policy="block")
    with live:
        items = iter(live)
        assert next(items) == 0
    assert not sources()
    assert live.health().received <= 3


def test_a_source_that_cannot_be_stopped_is_left_after_the_deadline() -> None:
    release = threading.Event()

    class Stuck:
        def __iter__(self) -> Iterator[int]:
            yield 1
            release.wait(DEADLINE_S)

    live = Live(Stuck(), capacity=2)
    items = iter(live)
    assert next(items) == 1
    assert live.close(timeout_s=0.01) is False
    assert live.health().abandoned
    release.set()
    assert live.close(DEADLINE_S) is True


def test_close_before_it_began_and_twice_is_harmless() -> None:
    live = Live(Gate(3), capacity=2)
    assert live.close()
    assert live.close()
    assert list(live) == []


def test_a_queue_that_stays_empty_gives_empty_blocks_to_whoever_asks() -> None:
    speak = threading.Event()

    class Quiet:
        def __iter__(self) -> Iterator[int]:
            speak.wait(DEADLINE_S)
            yield 7

    live = Live(Quiet(), capacity=2)
    blocks = live.blocks(idle_s=0.001)
    assert [len(next(blocks)) for _ in range(3)] == [0, 0, 0]
    speak.set()
    assert [item for block in blocks for item in block] == [7]


def test_a_sensor_that_gives_up_is_an_error_where_the_queue_is_read() -> None:
    clock = ManualClock()
    driver = FakeDriver([], clock, openings=[OSError("no such device")] * 10_000)
    with pytest.raises(SensorError, match="no such device"):
        list(Live(Sensor(driver, clock=clock), capacity=5))
    assert not sources()


class Hanging:
    """A driver that gives one sample, and whose second read comes back when it is let go."""

    name = "a hanging sensor"
    channel_names = ("x",)
    period_s = 0.1

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.let_go = threading.Event()
        self._batches = iter([Batch((Sample(0.0, np.zeros(1, np.float32)),))])

    def open(self) -> None: ...

    def read(self, timeout_s: float) -> Batch:
        for batch in self._batches:
            return batch
        self.hangs.set()
        self.let_go.wait(DEADLINE_S)
        return Batch()

    def close(self) -> None: ...


class Freed(Sensor):
    """A sensor with a hanging driver, whose thread can end when it is stopped."""

    def __init__(self, driver: Hanging, clock: ManualClock) -> None:
        super().__init__(driver, clock=clock, patience=Patience(give_up_s=60.0))
        self._hanging = driver

    def stop(self) -> None:
        super().stop()
        self._hanging.let_go.set()


@pytest.mark.parametrize("several", [False, True])
def test_a_driver_that_never_comes_back_does_not_hold_up_the_loop_for_ever(several: bool) -> None:
    clock, driver = ManualClock(), Hanging()
    sensor = Freed(driver, clock)

    def read() -> Iterator[Sequence[Sample | Window]]:
        if not several:
            yield from Live(sensor, capacity=5).blocks(0.01)
            return
        queues = together({"a": sensor}, {"a": 5}, "drop_oldest")
        with contextlib.closing(arrivals(queues, 0.01)) as arriving:
            yield from (items for _, items in arriving)

    blocks = read()
    assert next(blocks)
    assert driver.hangs.wait(DEADLINE_S)
    clock.advance(119)
    assert not next(blocks)
    clock.advance(1)
    with pytest.raises(SensorError, match="a hanging sensor: its driver has not come back for 120"):
        next(blocks)
    assert sensor.health().state is SourceState.FAILED
    assert not sources()


def test_a_driver_that_never_comes_back_is_noticed_beside_a_source_that_never_is_silent() -> None:
    clock, driver = ManualClock(), Hanging()
    talking = (Sample(float(i), np.zeros(1, np.float32)) for i in itertools.count())
    queues = together({"a": Freed(driver, clock), "b": talking}, {"a": 5, "b": 5}, "drop_oldest")
    give_up_s = time.monotonic() + DEADLINE_S

    def listen() -> None:
        with contextlib.closing(arrivals(queues, 0.5)) as arriving:
            for name, _ in arriving:
                if name == "a":
                    assert driver.hangs.wait(DEADLINE_S)
                    clock.advance(120)
                assert time.monotonic() < give_up_s

    with pytest.raises(SensorError, match="a hanging sensor: its driver has not come back for 120"):
        listen()
    assert not sources()


def test_an_overloaded_device_still_sees_whole_windows() -> None:
    """What is dropped is a stretch: between two of them the windows are whole."""
    spec = InputSpec(channels(["x"]), 100.0, window=20, stride=10, shape=(20, 1))
    samples = [Sample(i / 100, np.full(1, i, np.float32)) for i in range(2000)]
    turn = threading.Semaphore(0)

    class Fast:
        def __iter__(self) -> Iterator[Sample]:
            for i, item in enumerate(samples):
                if i % 100 == 0:
                    turn.acquire(timeout=DEADLINE_S)
                yield item

    live = Live(Fast(), capacity=queue_capacity(spec))
    windower = Windower(spec)
    windows = []
    turn.release()
    for item in live:
        window = windower.push(item)
        if window is not None:
            windows.append(window)
            turn.release()  # while this window is classified, a hundred samples arrive
            turn.release()
    assert len(windows) >= 10
    assert all((np.diff(w.data[:, 0]) == 1).all() for w in windows)


@pytest.mark.parametrize(
    ("rate_hz", "window", "capacity"), [(None, 8, 32), (50.0, 100, 400), (1000.0, 100, 2000)]
)
def test_a_queue_holds_four_windows_and_two_seconds(
    rate_hz: float | None, window: int, capacity: int
) -> None:
    spec = InputSpec(channels(["x"]), rate_hz, window=window, stride=1, shape=(window, 1))
    assert queue_capacity(spec) == capacity


@pytest.mark.parametrize(
    ("shape", "rate_hz", "stride", "capacity"),
    [
        ((224, 224, 3), None, 224, 4),
        ((224, 224, 3), 5.0, 224, 10),
        ((30, 64, 1), 10.0, 10, 120),  # thirty readings of a row of sensors
        ((8, 96, 96, 3), None, 4, 32),  # eight frames of a film
    ],
)
def test_a_queue_of_pictures_holds_four_and_not_one_for_each_of_their_rows(
    shape: tuple[int, ...], rate_hz: float | None, stride: int, capacity: int
) -> None:
    names = channels([f"c{i}" for i in range(shape[-1])])
    assert queue_capacity(InputSpec(names, rate_hz, shape[0], stride, shape)) == capacity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity": 1, "policy": "drop_old"}, "did you mean 'drop_oldest'"),
        ({"capacity": 0}, "one sample"),
    ],
)
def test_what_makes_no_queue_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Live([], **arguments)
