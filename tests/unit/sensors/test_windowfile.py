"""One reader for what people keep windows in, whoever asks: predict, convert, a training script."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import InputError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors.windowfile import cut, read_windows

SERIES = InputSpec(channels(("x", "y")), 50.0, 4, 2, (4, 2))
SOUND = InputSpec(channels(("sound",)), 8000.0, 100, 100, (100, 1))


def write_wav(path: Path, samples: int, rate_hz: int = 8000, level: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.full(samples, level, "<i2").tobytes())


def test_windows_one_window_and_recordings_are_told_apart_by_their_shape() -> None:
    windows = np.arange(24.0).reshape(3, 4, 2)
    np.testing.assert_array_equal(cut(windows, SERIES, "here")[0], windows)
    np.testing.assert_array_equal(cut(windows[0], SERIES, "here")[0], windows[:1])
    recording = np.arange(20.0).reshape(10, 2)
    found, rows = cut(recording, SERIES, "here")
    np.testing.assert_array_equal(found[1], recording[2:6])
    assert rows.tolist() == [0, 0, 0, 0]
    found, rows = cut(np.stack([recording, recording + 1]), SERIES, "here")
    assert len(found) == 8
    assert rows.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("shape", [(3, 4, 3), (3, 2), (4,), (0, 9, 2), (2, 3, 4, 2)])
def test_an_array_that_fits_no_window_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"here: an array \[.*takes windows \[n, 4, 2\]"):
        cut(np.zeros(shape), SERIES, "here")


def test_the_label_of_a_recording_is_that_of_each_of_its_windows(tmp_path: Path) -> None:
    recordings = np.zeros((2, 6, 2), np.float32)
    np.savez(tmp_path / "a.npz", recordings=recordings, labels=["walk", "run"])
    windows, labels = read_windows(tmp_path / "a.npz", SERIES)
    assert windows.shape == (4, 4, 2)
    assert labels is not None
    assert labels.tolist() == ["walk", "walk", "run", "run"]


def test_an_archive_of_several_arrays_without_a_known_name_is_asked_about(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=np.zeros(3), second=np.zeros(4))
    with pytest.raises(InputError, match="Name it 'windows'"):
        read_windows(tmp_path / "a.npz", SERIES)


def test_a_folder_of_sounds_is_cut_and_labelled_by_its_subfolders(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud" / "a.wav", 250, level=20000)
    write_wav(tmp_path / "soft" / "b.wav", 100, level=10)
    windows, labels = read_windows(tmp_path, SOUND)
    assert windows.shape == (3, 100, 1)
    assert labels is not None
    assert labels.tolist() == ["loud", "loud", "soft"]
    assert windows[0].max() > 0.5 > 0.01 > windows[2].max()


def test_sounds_in_one_folder_have_no_labels(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 100)
    assert read_windows(tmp_path, SOUND).labels is None


def test_a_sound_at_another_rate_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 100, rate_hz=44100)
    with pytest.raises(InputError, match=r"44100 samples a second.* takes 8000.*ffmpeg"):
        read_windows(tmp_path / "a.wav", SOUND)


def test_a_sound_shorter_than_a_window_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "a" / "short.wav", 30)
    with pytest.raises(InputError, match=r"short\.wav: 30 rows, fewer than one window of 100"):
        read_windows(tmp_path, SOUND)


@pytest.mark.workstation
@pytest.mark.parametrize("depth", [1, 3])
def test_a_folder_of_images_is_scaled_and_labelled_by_its_subfolders(
    depth: int, tmp_path: Path
) -> None:
    from PIL import Image

    inputs = InputSpec(channels([f"c{i}" for i in range(depth)]), None, 8, 8, (8, 6, depth))
    for name, level in (("bright", 250), ("dark", 5)):
        (tmp_path / name).mkdir()
        picture: Any = np.full((16, 12, 3), level, np.uint8)
        Image.fromarray(picture).save(tmp_path / name / "a.png")
    windows, labels = read_windows(tmp_path, inputs)
    assert windows.shape == (2, 8, 6, depth)
    assert labels is not None
    assert labels.tolist() == ["bright", "dark"]
    assert windows[0].mean() == pytest.approx(250, abs=1)


def test_a_folder_that_holds_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without \.wav"):
        read_windows(tmp_path, SERIES)


@pytest.mark.parametrize("name", ["a.csv", "A.CSV"])
def test_columns_are_the_models_by_name_however_the_files_ending_is_written(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("y,x\n" + "".join(f"{10 + i},{i}\n" for i in range(4)))
    windows, _ = read_windows(tmp_path / name, SERIES)
    assert windows[0, 0].tolist() == [0, 10]


def test_an_archive_whose_channels_are_not_the_models_is_refused(tmp_path: Path) -> None:
    """Their order is that of the columns, and windows of swapped columns look like windows."""
    np.savez(tmp_path / "a.npz", samples=np.zeros((4, 2)), channels=["x", "y"])
    assert len(read_windows(tmp_path / "a.npz", SERIES).windows) == 1
    np.savez(tmp_path / "a.npz", samples=np.zeros((4, 2)), channels=["y", "x"])
    with pytest.raises(InputError, match=r"a\.npz: its channels are y, x; the model takes x, y"):
        read_windows(tmp_path / "a.npz", SERIES)


def write_times(path: Path, times_s: list[float]) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npz":
        rows = np.arange(len(times_s) * 2.0).reshape(-1, 2)
        np.savez(path, samples=rows, time_s=np.array(times_s), labels=["walk"])
    else:
        rows_text = "".join(f"{t},{2 * i},{2 * i + 1}\n" for i, t in enumerate(times_s))
        path.write_text("time_s,x,y\n" + rows_text)


@pytest.mark.parametrize("name", ["a.csv", "a.npz"])
def test_no_window_spans_a_gap_of_a_recording_that_holds_its_times(
    name: str, tmp_path: Path
) -> None:
    """As on a device: of 6, 3 and 4 rows without a gap two windows come, none and one."""
    steps = (
        [i / 50 for i in range(6)],
        [9 + i / 50 for i in range(3)],
        [5 + i / 50 for i in range(4)],
    )
    write_times(tmp_path / name, [t for part in steps for t in part])
    windows, labels = read_windows(tmp_path / name, SERIES)
    assert windows[:, 0, 0].tolist() == [0, 4, 18]
    assert labels is None or labels.tolist() == ["walk"] * 3
    write_times(tmp_path / name, [i / 50 + i // 3 for i in range(9)])
    with pytest.raises(InputError, match="no 4 rows, a window, without a gap in their times"):
        read_windows(tmp_path / name, SERIES)


@pytest.mark.parametrize("name", ["a.csv", "a.npz"])
def test_a_recording_whose_times_are_of_another_rate_is_refused(name: str, tmp_path: Path) -> None:
    write_times(tmp_path / name, [i / 100 for i in range(20)])
    with pytest.raises(InputError, match="100 samples a second, but the model takes 50"):
        read_windows(tmp_path / name, SERIES)
