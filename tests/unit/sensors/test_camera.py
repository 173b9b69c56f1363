"""Frames arrive in the size and colours that the model takes, at the rate asked for."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, MissingDependencyError, SensorError
from edgeml.sensors import Camera, Sensor
from edgeml.sensors.fakes import FakeCamera

RED = np.zeros((4, 6, 3), np.uint8)
RED[..., 0] = 200


def test_a_frame_is_float_rgb_of_the_size_asked_for() -> None:
    camera = Camera(size=(4, 6), backend=FakeCamera([RED]), clock=ManualClock(now_s=3.0))
    camera.open()
    (sample,) = camera.read(0.1).samples
    assert sample.values.dtype == np.float32
    np.testing.assert_array_equal(sample.values, RED)
    assert sample.time_s == 3.0
    assert camera.channel_names == ("red", "green", "blue")


def test_a_size_may_come_from_a_file_as_a_list() -> None:
    camera = Camera(size=[4, 6], backend=FakeCamera([RED]), clock=ManualClock())
    camera.open()
    assert camera.read(0.1).samples[0].values.shape == (4, 6, 3)


def test_grey_weighs_the_colours() -> None:
    camera = Camera(size=(4, 6), colour="grey", backend=FakeCamera([RED]), clock=ManualClock())
    camera.open()
    (sample,) = camera.read(0.1).samples
    assert sample.values.shape == (4, 6, 1)
    np.testing.assert_allclose(sample.values, 200 * 0.299, rtol=1e-6)


def test_a_camera_with_another_size_is_scaled_by_averaging() -> None:
    fine = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    camera = Camera(size=(4, 6), backend=FakeCamera([fine, fine]), clock=ManualClock())
    camera.open()
    (first,) = camera.read(0.1).samples
    expected = fine.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(first.values, expected, atol=1e-3)


def test_frames_come_at_the_rate_asked_for() -> None:
    clock = ManualClock(now_s=0.0)
    camera = Camera(size=(4, 6), rate_hz=5.0, backend=FakeCamera([RED] * 9), clock=clock)
    camera.open()
    times = [s.time_s for _ in range(9) for s in camera.read(0.1).samples]
    np.testing.assert_allclose(np.diff(times), 0.2)


def test_a_camera_that_gives_no_frame_went_away_and_is_let_go() -> None:
    fake = FakeCamera([])
    camera = Camera(2, size=(4, 6), backend=fake, clock=ManualClock())
    camera.open()
    with pytest.raises(SensorError, match="camera 2: gives no frame"):
        camera.read(0.1)
    camera.close()
    camera.close()
    assert fake.released == 1


def test_what_no_camera_can_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'opencv'"):
        Camera(size=(4, 6), backend="open-cv")
    with pytest.raises(ConfigError, match="did you mean 'grey'"):
        Camera(size=(4, 6), colour="gray")
    for size in ((0, 6), (4,), (4, 6, 3)):
        with pytest.raises(ConfigError, match="height, width"):
            Camera(size=size)
    with pytest.raises(ConfigError, match="positive"):
        Camera(size=(4, 6), rate_hz=0)


def test_the_rate_that_is_asked_for_is_held_against_the_models() -> None:
    camera = Sensor(Camera(size=(4, 6), rate_hz=10, backend=FakeCamera([RED])))
    assert camera.sample_rate_hz == 10.0


def test_without_picamera2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingDependencyError, match="apt install python3-picamera2"):
        Camera(size=(4, 6), backend="picamera2").open()


def test_a_pi_camera_that_cannot_be_set_up_is_let_go_for_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library gives a camera to one at a time: what is kept is in use for good."""
    held: list[object] = []

    class Picamera2:
        def __init__(self, number: int) -> None:
            if held:
                raise RuntimeError(f"camera {number} is in use")
            held.append(self)

        def create_video_configuration(self, main: object, controls: object) -> object:
            return main, controls

        def configure(self, wanted: object) -> None:
            raise RuntimeError(f"no such mode: {wanted}")

        def close(self) -> None:
            held.remove(self)

    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    camera = Camera(size=(4, 6), backend="picamera2")
    for _ in range(2):
        with pytest.raises(SensorError, match="no such mode"):
            camera.open()
        camera.close()


def test_opencv_gives_the_colours_in_our_order(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed; edgeml[sensors] brings it")
    path = str(tmp_path / "red.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (64, 48))
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 2] = 200  # OpenCV's order is blue, green, red
    for _ in range(3):
        writer.write(red)
    writer.release()
    camera = Camera(path, size=(24, 32), rate_hz=100.0, clock=ManualClock())
    camera.open()
    frames = [s.values for _ in range(3) for s in camera.read(1.0).samples]
    with pytest.raises(SensorError, match="gives no frame"):
        camera.read(1.0)
    camera.close()
    assert len(frames) == 3
    np.testing.assert_allclose(frames[0].mean(axis=(0, 1)), [200, 0, 0], atol=6)


def test_the_frames_of_a_url_that_are_not_due_are_thrown_away(tmp_path: Path) -> None:
    """A network camera that gives more than is asked for would else show an ever older past."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed; edgeml[sensors] brings it")
    path = tmp_path / "shades.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    for shade in range(0, 250, 25):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    clock = ManualClock()
    camera = Camera(f"file://{path}", size=(48, 64), rate_hz=5.0, colour="grey", clock=clock)
    camera.open()
    shades = []
    for _ in range(2):  # five frames in the time of one that is wanted
        for _ in range(5):
            shades += [s.values.mean() for s in camera.read(0.1).samples]
        clock.advance(0.2)
    np.testing.assert_allclose(shades, [0, 125], atol=3)
    with pytest.raises(SensorError, match="gives no frame"):
        camera.read(0.1)
    camera.close()


def test_a_camera_that_is_not_there_says_where_to_look() -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed; edgeml[sensors] brings it")
    with pytest.raises(SensorError, match="ls /dev/video"):
        Camera("/no/such/camera.avi", size=(4, 6)).open()
