"""A recording replayed gives the samples that were recorded, at the times that were meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors import Replay, Windower

RECORDINGS = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)


def test_an_array_gives_its_rows_one_period_apart() -> None:
    samples = list(Replay(RECORDINGS[0], sample_rate_hz=10, start_s=100.0))
    np.testing.assert_array_equal([s.values for s in samples], RECORDINGS[0])
    np.testing.assert_allclose([s.time_s for s in samples], 100 + np.arange(5) / 10)


@pytest.mark.parametrize(
    "array", [[["a"]], [[1, 2], [3]], [[None, 1]], np.zeros((3, 2), complex), [1, 2]], ids=repr
)
def test_an_array_that_is_no_recording_is_refused(array: Any) -> None:
    with pytest.raises(SensorError, match=r"the (array|recording) is "):
        Replay(array, sample_rate_hz=10)


def test_two_recordings_are_never_in_one_window() -> None:
    spec = InputSpec(channels(["a", "b", "c"]), 10.0, window=4, stride=1, shape=(4, 3))
    windower = Windower(spec)
    source = Replay(RECORDINGS, sample_rate_hz=10, start_s=0.0)
    windows = [w for s in source if (w := windower.push(s)) is not None]
    assert len(windows) == 4
    assert windower.stats.gaps == 1


def test_start_times_say_which_recording_a_window_came_from() -> None:
    source = Replay(RECORDINGS, sample_rate_hz=10, start_s=50.0, repeat=2)
    times = [s.time_s for s in source]
    assert times[::5] == pytest.approx(source.start_times_s(50.0))
    assert len(times) == 20


def test_speed_paces_by_the_clock_without_drift() -> None:
    clock = ManualClock(now_s=1000.0)
    source = Replay(RECORDINGS[0], sample_rate_hz=10, speed=2.0, clock=clock)
    seen = [(sample.time_s, clock.monotonic_s()) for sample in source]
    np.testing.assert_allclose([t for t, _ in seen], 1000 + np.arange(5) / 10)
    np.testing.assert_allclose([m for _, m in seen], np.arange(5) / 20, atol=1e-6)


def test_speed_paces_a_recording_with_times_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time_s,x\n5.0,1\n5.1,3\n5.3,4\n")
    clock = ManualClock(now_s=1000.0)
    seen = [clock.monotonic_s() for _ in Replay(path, speed=2.0, clock=clock)]
    np.testing.assert_allclose(seen, [0, 0.05, 0.15], atol=1e-6)


def test_a_pause_of_a_paced_recording_ends_when_it_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time_s,x\n0,1\n1,2\n601,3\n602,4\n")

    class Stopping(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.monotonic_s() > 100:
                source.stop()

    clock = Stopping()
    source = Replay(path, speed=1.0, clock=clock)
    assert [sample.time_s for sample in source] == [0, 1]
    assert clock.monotonic_s() < 101
    assert next(iter(source)).time_s == 0  # it begins anew for whoever iterates it again


def test_npz_brings_labels_channels_and_rate(tmp_path: Path) -> None:
    path = tmp_path / "walks.npz"
    np.savez(
        path,
        recordings=RECORDINGS,
        labels=["a", "b"],
        sample_rate_hz=25.0,
        channels=["x", "y", "z"],
    )
    source = Replay(path)
    assert (source.labels, source.sample_rate_hz) == (("a", "b"), 25.0)
    assert source.channel_names == ("x", "y", "z")


def test_csv_gives_columns_by_name_and_the_times_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time_s,x,y,label\n5.0,1,2,walk\n5.1,3,4,walk\n5.2,nan,6,walk\n")
    samples = list(Replay(path, channels=["y", "x"]))
    assert [s.time_s for s in samples] == [5.0, 5.1, 5.2]
    np.testing.assert_array_equal(samples[0].values, [2, 1])
    assert np.isnan(samples[2].values[1])
    assert Replay(path).sample_rate_hz == pytest.approx(10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time_s,x\n1,2,3\n", "2 columns"),
        ("time_s,x\n1,two\n", ":2: could not convert"),
        ("", "name the columns"),
        ("time_s,x\n", "hold numbers"),
        ("time_s,x\nnan,1\n", "finite"),
    ],
)
def test_a_csv_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(SensorError, match=message) as error:
        Replay(path)
    assert "bad.csv" in str(error.value)


def test_a_mark_before_the_header_does_not_hide_the_times(tmp_path: Path) -> None:
    """Excel's "CSV UTF-8" begins with a byte-order mark, and the time column is often the first."""
    path = tmp_path / "excel.csv"
    path.write_text("time_s,x\n0,1\n1,2\n2,3\n60,4\n", encoding="utf-8-sig")
    source = Replay(path, channels=["x"], sample_rate_hz=1.0)
    assert [sample.time_s for sample in source] == [0, 1, 2, 60]
    assert source.measured_rate_hz == 1.0


@pytest.mark.parametrize(
    "content",
    ["time_s,temp_°C\n0,1\n".encode("cp1252"), b'x\n"' + b"2" * 200_000 + b'"\n'],
    ids=["another encoding", "a quote that never ends"],
)
def test_what_is_no_csv_in_utf_8_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    with pytest.raises(SensorError, match=r"odd\.csv: is not a CSV in UTF-8"):
        Replay(path)


def test_a_rate_that_is_not_that_of_the_times_is_refused(tmp_path: Path) -> None:
    """Times decide: windows at the rate that was passed would never come."""
    path = tmp_path / "walk.csv"
    path.write_text("time_s,x\n" + "".join(f"{i / 50},1\n" for i in range(9)))
    with pytest.raises(SensorError, match=r"walk\.csv: by its times it gives 50 .*, and 10 are"):
        Replay(path, sample_rate_hz=10)
    assert Replay(path, sample_rate_hz=50.5).sample_rate_hz == 50.5
    np.savez(tmp_path / "a.npz", samples=np.zeros((9, 1)), time_s=np.arange(9), sample_rate_hz=2.0)
    with pytest.raises(SensorError, match="gives 1 samples a second, and 2 are"):
        Replay(tmp_path / "a.npz")


def test_times_in_whole_milliseconds_with_a_gap_tell_the_rate_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    times = [*(round(i / 400, 3) for i in range(200)), *(round(9 + i / 400, 3) for i in range(200))]
    path.write_text("time_s,x\n" + "".join(f"{time_s},1\n" for time_s in times))
    assert Replay(path).measured_rate_hz == pytest.approx(400, rel=0.01)
    path.write_text("time_s,x\n0,1\n0,1\n0,1\n1,1\n")
    with pytest.raises(SensorError, match="by its times it gives inf"):
        Replay(path, sample_rate_hz=3)


def test_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("time_s,accel_x\n0,1\n")
    with pytest.raises(SensorError, match="did you mean 'accel_x'"):
        Replay(path, channels=["acel_x"])


@pytest.mark.parametrize("name", ["walk.npz", "walk.npy"])
def test_a_damaged_array_file_is_refused_without_running_anything(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    path.write_bytes((tmp_path / "objects.npy").read_bytes())
    with pytest.raises(SensorError, match="read safely"):
        Replay(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"none\.csv: cannot be read"):
        Replay(tmp_path / "none.csv")
    with pytest.raises(SensorError, match=r"reads \.csv, \.npz, \.npy"):
        Replay(tmp_path / "walk.xlsx")


def test_without_any_sample_rate_it_says_how_to_give_one() -> None:
    with pytest.raises(ConfigError, match="sample_rate_hz"):
        Replay(RECORDINGS)


@pytest.mark.parametrize(
    "arguments", [{"speed": 0}, {"speed": -1}, {"repeat": 0}, {"sample_rate_hz": 0}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Replay(RECORDINGS, **{"sample_rate_hz": 10, **arguments})  # type: ignore[arg-type]
