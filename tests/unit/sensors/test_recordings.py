"""Sound files and folders of images are read exactly, or refused with the file's name."""

import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeml.errors import ConfigError, EdgeMLError, SensorError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors import Replay, Windower
from edgeml.sensors.wav import read_wav


def riff(kind: int, bits: int, data: bytes, nchannels: int = 1, extra: bytes = b"") -> bytes:
    block = nchannels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, nchannels, 8000, 8000 * block, block, bits) + extra
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize(("width", "full"), [(2, 1 << 15), (3, 1 << 23), (4, 1 << 31)])
def test_integer_sound_of_every_width_is_what_was_written(
    tmp_path: Path, width: int, full: int
) -> None:
    numbers = [0, 1, -1, full - 1, -full, full // 2]
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(16_000)
        file.writeframes(b"".join(n.to_bytes(width, "little", signed=True) for n in numbers))
    sound = read_wav(path)
    assert sound.rate_hz == 16_000
    np.testing.assert_array_equal(
        sound.values, (np.array(numbers) / full).astype(np.float32).reshape(3, 2)
    )


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (riff(1, 8, b"\x00\x80\xff"), [-1.0, 0.0, 127 / 128]),
        (riff(3, 32, struct.pack("<2f", 0.25, -1.5)), [0.25, -1.5]),
        (riff(3, 64, struct.pack("<2d", 0.25, -1.5)), [0.25, -1.5]),
        (
            riff(0xFFFE, 16, struct.pack("<h", 1 << 14), 1, struct.pack("<HHIH14x", 22, 16, 4, 1)),
            [0.5],
        ),
    ],
)
def test_bytes_floats_and_extensible_headers_are_read(
    tmp_path: Path, content: bytes, values: list[float]
) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_wav(path).values[:, 0], np.array(values, np.float32))


def test_a_wav_replays_at_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(riff(1, 16, struct.pack("<4h", 0, 16384, 0, -16384)))
    replay = Replay(path, start_s=10.0)
    assert replay.sample_rate_hz == 8000
    assert replay.channel_names == ("sound",)
    assert [s.values.tolist() for s in replay] == [[0.0], [0.5], [0.0], [-0.5]]
    assert [s.time_s for s in replay][-1] == pytest.approx(10 + 3 / 8000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "RIFF"),
        (b"RIFF\0\0\0\0WAVE", "no sound"),
        (riff(2, 4, b"\0" * 10), "ffmpeg"),
        (riff(1, 16, b"\0" * 100)[:-10], "10 bytes early"),
        (riff(1, 16, b""), "no sound"),
        (riff(1, 16, b"\0\0", nchannels=0), "0 channels"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\0\0\0\0", "too short"),
    ],
)
def test_a_damaged_wav_says_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    with pytest.raises(SensorError, match=message) as error:
        Replay(path)
    assert "sound.wav" in str(error.value)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 67), st.integers(0, 255)), max_size=8), st.integers(0, 68))
def test_no_bytes_do_anything_but_play_or_fail(
    tmp_path: Path, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(riff(1, 16, bytes(range(16))))
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "sound.wav"
    path.write_bytes(bytes(content[:length]))
    try:
        sound = read_wav(path)
    except EdgeMLError:
        return
    assert sound.values.ndim == 2


def photograph(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path)


def test_a_folder_of_images_plays_in_order_with_the_folders_as_labels(tmp_path: Path) -> None:
    first = np.full((4, 6, 3), (10, 20, 30), np.uint8)
    second = np.full((4, 6), 77, np.uint8)
    photograph(tmp_path / "cat" / "1.png", first)
    photograph(tmp_path / "dog" / "2.png", second)
    (tmp_path / "notes.txt").write_text("not an image")
    replay = Replay(tmp_path, start_s=0.0)
    assert replay.labels == ("cat", "dog")
    samples = list(replay)
    assert [s.time_s for s in samples] == [0.0, 1.0]
    np.testing.assert_array_equal(samples[0].values, first)
    np.testing.assert_array_equal(samples[1].values, np.repeat(second[..., None], 3, axis=2))
    assert replay.recordings.shape == (1, 2, 4, 6, 3)


def test_images_are_scaled_and_turned_grey_and_each_is_a_window(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png", np.full((16, 16, 3), (100, 100, 100), np.uint8))
    spec = InputSpec(channels(["ink"]), None, window=8, stride=8, shape=(8, 8, 1))
    windower = Windower(spec)
    windows = [windower.push(s) for s in Replay(tmp_path, size=(8, 8), colour="grey")]
    (window,) = windows
    assert window is not None
    np.testing.assert_allclose(window.data, 100, rtol=1e-6)


def test_an_image_that_cannot_be_read_is_named_when_it_is_its_turn(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    samples = iter(Replay(tmp_path))
    next(samples)
    with pytest.raises(SensorError, match=r"2\.png"):
        next(samples)


def test_images_of_several_sizes_play_but_do_not_stack(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png", np.zeros((2, 2, 3), np.uint8))
    photograph(tmp_path / "2.png", np.zeros((3, 2, 3), np.uint8))
    replay = Replay(tmp_path)
    assert [s.values.shape for s in replay] == [(2, 2, 3), (3, 2, 3)]
    with pytest.raises(SensorError, match="size="):
        _ = replay.recordings


def test_a_folder_without_images_and_a_look_that_there_is_not_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    with pytest.raises(SensorError, match="holds no image"):
        Replay(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'grey'"):
        Replay(tmp_path, colour="gray")


def test_codes_are_whole_steps_of_a_scale(tmp_path: Path) -> None:
    codes = np.array([[[1, -2], [3, 4]]], np.int16)
    path = tmp_path / "codes.npz"
    np.savez(path, codes=codes, scale=np.array([0.5, 0.25], np.float32), sample_rate_hz=10.0)
    np.testing.assert_array_equal(Replay(path).recordings, [[[0.5, -0.5], [1.5, 1.0]]])
    np.savez(path, codes=codes, sample_rate_hz=10.0)
    with pytest.raises(SensorError, match="need a 'scale' of 2"):
        Replay(path)
