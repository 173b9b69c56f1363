"""A camera: frames from OpenCV (USB, RTSP) or picamera2 (the Pi's own connector).

Each frame is a sample by itself, in the size that was asked for; a camera that
gives another has its frames scaled.
"""

import contextlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, MissingDependencyError, SensorError, nearest
from edgeml.preprocess import Pipeline
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.images import Size, as_frame, checked_colour, checked_size
from edgeml.sensors.needs import needed
from edgeml.sensors.pace import Stamp, Ticker, checked_rate
from edgeml.sensors.sample import Sample

BACKENDS: Final = ("opencv", "picamera2")


class Capture(Protocol):
    """An open camera.

    Attributes:
        skip: throws the next frame away, and says whether there was one; None where frames
            that nobody reads do not queue up.
    """

    skip: Callable[[], bool] | None

    def read(self) -> npt.NDArray[Any] | None:
        """The next frame, uint8 (height, width, 3) RGB; None when the camera gives none."""
        ...

    def release(self) -> None:
        """Let go of the camera."""
        ...


class Opener(Protocol):
    """What opens a camera."""

    def __call__(self, device: int | str, size: Size, rate_hz: float) -> Capture:
        """The camera, set as near to this as it can be.

        Raises:
            SensorError: there is no such camera, or it is in use.
            MissingDependencyError: its library is not installed.
        """
        ...


class Camera:
    """Frames of a camera; a driver for `Sensor`.

    Args:
        device: the camera's number, or for OpenCV a path or a URL.
        size: height and width of a frame.
        rate_hz: frames a second; those that the camera gives beyond it are left out.
        colour: `rgb` or `grey`.
        backend: `opencv`, `picamera2`, or what opens a camera.
        clock: the time.

    Raises:
        ConfigError: an unknown backend or look, or a rate that is not positive.
    """

    def __init__(
        self,
        device: int | str = 0,
        *,
        size: Sequence[int],
        rate_hz: float = 5.0,
        colour: str = "rgb",
        backend: str | Opener = "opencv",
        clock: Clock | None = None,
    ) -> None:
        channels = checked_colour(colour)
        self.channel_names = ("red", "green", "blue") if channels == 3 else ("grey",)
        self.name = f"camera {device}"
        self.rate_hz = checked_rate(rate_hz)
        self.period_s = 1.0 / self.rate_hz
        self._device = device
        self._size = checked_size(size)
        self._colour = colour
        self._opener = _opener(backend)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stamp = Stamp(self._clock)
        self._ticker = Ticker(self.period_s, self._clock)
        self._capture: Capture | None = None
        self._scaling: tuple[tuple[int, ...], Pipeline] | None = None

    def open(self) -> None:
        """Open the camera.

        Raises:
            SensorError: there is no such camera, or it is in use.
            MissingDependencyError: its library is not installed.
        """
        self._capture = self._opener(self._device, self._size, self.rate_hz)
        self._ticker = Ticker(self.period_s, self._clock)

    def read(self, timeout_s: float) -> Batch:
        """The next frame, when it is due.

        Raises:
            SensorError: the camera gives none.
        """
        if self._capture is None:
            raise SensorError(f"{self.name}: is not open")
        skip = self._capture.skip
        due = self._ticker.wait(timeout_s if skip is None else 0.0)
        if not due and (skip is None or skip()):
            return NOTHING
        rgb = self._capture.read() if due else None
        if rgb is None:
            raise SensorError(f"{self.name}: gives no frame; was it unplugged?")
        time_s = self._stamp.now_s()
        return Batch((Sample(time_s, self._scaled(as_frame(rgb, self._colour))),))

    def close(self) -> None:
        """Let go of the camera."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _scaled(self, frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if frame.shape[:2] == self._size:
            return frame
        if self._scaling is None or self._scaling[0] != frame.shape:
            height, width = self._size
            step = {"step": "resize", "height": height, "width": width, "method": "area"}
            self._scaling = frame.shape, Pipeline.from_steps([step], frame.shape)
        scaled: npt.NDArray[np.float32] = self._scaling[1](frame)
        return np.array(scaled)


class OpenCvCapture:
    """A camera through OpenCV, as `Capture`.

    The frames of a URL queue up in its decoder: whoever reads fewer than come sees the past.
    """

    __slots__ = ("_capture", "_error", "skip")

    def __init__(self, device: int | str, size: Size, rate_hz: float) -> None:
        cv2 = needed("cv2", "a camera")
        self._error = cv2.error
        self._capture = cv2.VideoCapture(device)
        self.skip: Callable[[], bool] | None = self._capture.grab if "://" in str(device) else None
        if not self._capture.isOpened():
            self._capture.release()
            raise SensorError(
                f"camera {device}: cannot be opened; see which there are: ls /dev/video*, and be "
                "in their group: sudo usermod -aG video $USER"
            )
        # Wishes: a camera that cannot fulfil one ignores it.
        for wish, value in (
            (cv2.CAP_PROP_FRAME_HEIGHT, size[0]),
            (cv2.CAP_PROP_FRAME_WIDTH, size[1]),
            (cv2.CAP_PROP_FPS, rate_hz),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            self._capture.set(wish, value)

    def read(self) -> npt.NDArray[Any] | None:
        """The next frame, RGB; None when there is none."""
        try:
            good, bgr = self._capture.read()
        except self._error as exc:
            raise SensorError(f"OpenCV: {exc}") from exc
        return bgr[..., ::-1] if good and bgr is not None else None

    def release(self) -> None:
        """Let go of the camera."""
        self._capture.release()


class PiCapture:
    """The camera on a Pi's own connector through picamera2, as `Capture`."""

    __slots__ = ("_camera", "skip")

    def __init__(self, device: int | str, size: Size, rate_hz: float) -> None:
        self.skip: Callable[[], bool] | None = None
        try:
            library = import_module("picamera2")
        except ImportError as exc:
            raise MissingDependencyError(
                "the Pi's camera needs picamera2, which comes with the system: sudo apt install "
                "python3-picamera2, and an environment made with --system-site-packages"
            ) from exc
        try:
            self._camera = library.Picamera2(int(device))
            # libcamera names formats by their order in a little-endian word: this one is RGB here.
            main = {"size": size[::-1], "format": "BGR888"}
            self._camera.configure(
                self._camera.create_video_configuration(main, controls={"FrameRate": rate_hz})
            )
            self._camera.start()
        except (RuntimeError, IndexError, ValueError) as exc:
            if hasattr(self, "_camera"):  # it is there, and would be in use for the next attempt
                self.release()
            raise SensorError(f"camera {device}: {exc}; see: rpicam-hello --list-cameras") from exc

    def read(self) -> npt.NDArray[Any] | None:
        """The next frame, RGB."""
        try:
            frame: npt.NDArray[Any] = self._camera.capture_array("main")
        except RuntimeError as exc:
            raise SensorError(f"picamera2: {exc}") from exc
        return frame[..., :3]

    def release(self) -> None:
        """Let go of the camera."""
        with contextlib.suppress(RuntimeError):  # what is unplugged needs no stopping
            self._camera.close()


def _opener(backend: str | Opener) -> Opener:
    if not isinstance(backend, str):
        return backend
    if backend not in BACKENDS:
        raise ConfigError(
            f"backend={backend!r} is none of {', '.join(BACKENDS)}{nearest(backend, BACKENDS)}"
        )
    return OpenCvCapture if backend == "opencv" else PiCapture
