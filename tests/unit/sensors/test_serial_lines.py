"""A microcontroller's lines become samples; the line is a real one, over a pty."""

import collections
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import Patience, Sample, Sensor, SerialLines
from edgeml.sensors.fakes import FakeBoard

pytest.importorskip("serial", reason="pyserial is not installed; edgeml[sensors] brings it")
pytest.importorskip("pty", reason="pseudo-terminals are POSIX's")

BRIEF = Patience(first_pause_s=0.01, longest_pause_s=0.02, silent_after_s=0.5, give_up_s=2.0)


@pytest.fixture
def board() -> Iterator[FakeBoard]:
    found = FakeBoard()
    yield found
    found.unplug()


def test_csv_lines_are_samples_and_the_torn_first_one_is_not(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["x", "y"])
    driver.open()
    board.say("3.5\n1,2\n3,4\n")
    batch = driver.read(5.0)
    driver.close()
    np.testing.assert_array_equal([s.values for s in batch.samples], [[1, 2], [3, 4]])
    assert batch.samples[0].time_s < batch.samples[1].time_s
    assert batch.malformed == 0


def test_json_lines_give_the_channels_at_their_paths(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["t", "x"], format="json", paths=["env.t", "a[0]"])
    driver.open()
    board.say('\n{"env": {"t": 21.5}, "a": [7]}\n')
    (sample,) = driver.read(5.0).samples
    driver.close()
    np.testing.assert_array_equal(sample.values, np.array([21.5, 7], np.float32))


def test_a_garbled_line_is_counted_and_the_next_one_is_read(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["x", "y"])
    driver.open()
    board.say("\n1,2\n1,\x01@\n5,6\n")
    batch = driver.read(5.0)
    driver.close()
    assert len(batch.samples) == 2
    assert batch.malformed == 1
    assert board.port in batch.complaint


def test_a_line_that_comes_in_pieces_is_one_line(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["x"])
    driver.open()
    board.say("\n12")
    assert driver.read(5.0).samples == []
    board.say("34\n")
    (sample,) = driver.read(5.0).samples
    driver.close()
    assert sample.values == [1234]


def test_steady_lines_have_steady_times(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["x"], rate_hz=100.0)
    driver.open()
    board.say("\n" + "1\n" * 10)
    samples = driver.read(5.0).samples
    driver.close()
    np.testing.assert_allclose(np.diff([s.time_s for s in samples]), 0.01, atol=1e-6)


@pytest.mark.parametrize(
    ("line", "malformed", "missing"),
    [("4\x01@", 1, 1), ("4,4", 1, 1), ("# 21 degrees", 0, 0), ("", 0, 0)],
    ids=["garbled", "torn", "a remark", "an empty line"],
)
def test_of_steady_lines_one_that_cannot_be_read_leaves_a_gap(
    board: FakeBoard, line: str, malformed: int, missing: int
) -> None:
    clock = ManualClock()
    driver = SerialLines(board.port, ["x"], rate_hz=100.0, clock=clock)
    driver.open()
    samples: list[Sample] = []
    for lines in (["", "1", "2"], ["3", line, "5"]):
        clock.advance(0.02 + 0.01 * missing)
        board.say("\n".join([*lines, ""]))
        batch = driver.read(5.0)
        samples += batch.samples
    driver.close()
    assert batch.malformed == malformed
    steps = np.diff([s.time_s for s in samples])
    np.testing.assert_allclose(steps, [0.01, 0.01, 0.01 * (1 + missing)], atol=1e-6)


def test_silence_is_an_empty_read(board: FakeBoard) -> None:
    driver = SerialLines(board.port, ["x"])
    driver.open()
    assert not driver.read(0.0).samples
    driver.close()


def test_a_board_that_is_unplugged_is_an_error_after_the_stated_time(board: FakeBoard) -> None:
    sensor = Sensor(SerialLines(board.port, ["x"], rate_hz=100.0), patience=BRIEF)
    items = iter(sensor)
    enough = threading.Event()

    def talk() -> None:
        while not enough.wait(0.005):
            board.say("1\n")
        board.unplug()

    talker = threading.Thread(target=talk)
    talker.start()
    assert len(list(itertools.islice(items, 3))) == 3
    enough.set()
    with pytest.raises(SensorError, match="serial line"):
        collections.deque(items, maxlen=0)
    talker.join()
    assert sensor.health().faults > 1


def test_a_port_that_is_not_there_says_where_to_look() -> None:
    with pytest.raises(SensorError, match="ls /dev/serial"):
        SerialLines("/dev/does-not-exist", ["x"]).open()


@pytest.mark.skipif(sys.platform != "linux", reason="the error is the kernel's")
def test_a_file_that_is_no_port_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(SensorError, match="file"):
        SerialLines(str(path), ["x"]).open()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": []}, "names each channel"),
        ({"channels": ["x"], "format": "jsn"}, "did you mean 'json'"),
        ({"channels": ["x"], "paths": ["a", "b"]}, "where each one is"),
        ({"channels": ["x"], "rate_hz": 0}, "positive"),
        ({"channels": ["x"], "every_s": 0}, "every_s"),
        ({"channels": ["x"], "format": "json", "paths": ["a["]}, r"imu\.accel"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SerialLines("/dev/ttyX", **arguments)
