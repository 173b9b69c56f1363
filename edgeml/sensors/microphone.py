"""A microphone: the sound card's own thread hands over blocks, and none of them is waited for."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.needs import needed
from edgeml.sensors.pace import BlockStamp, Stamp, checked_rate
from edgeml.sensors.sample import Block

MOST_WAITING: Final = 64
"""Blocks held between two reads; beyond it the oldest goes and is counted as lost."""


class _Heard(NamedTuple):
    """A block as it came: when, and whether sound is missing before it."""

    values: npt.NDArray[np.float32]
    arrival_s: float
    broken: bool


class Microphone:
    """Sound as float32 from -1 to 1, a sample an audio frame; a driver for `Sensor`.

    Args:
        device: the sound card's number or a part of its name; the system's default by default.
        rate_hz: audio frames a second.
        channels: 1 for mono.
        block_s: how much sound comes at once.
        library: what speaks to the sound card, with `InputStream` and `PortAudioError`;
            sounddevice by default.
        clock: the time.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        rate_hz: float = 16_000.0,
        channels: int = 1,
        block_s: float = 0.05,
        library: Any = None,
        clock: Clock | None = None,
    ) -> None:
        if channels < 1 or not 0 < block_s <= 1:
            raise ConfigError(
                f"channels={channels}, block_s={block_s}: at least 1 channel, and up to 1 s"
            )
        self.name = "the microphone" if device is None else f"microphone {device}"
        self.channel_names = (
            ("sound",) if channels == 1 else tuple(f"sound_{i}" for i in range(channels))
        )
        self.period_s = block_s
        self._device = device
        self.rate_hz = checked_rate(rate_hz)
        self._block_frames = max(round(rate_hz * block_s), 1)
        self._library = library
        self._stamp = Stamp(SystemClock() if clock is None else clock)
        self._times = BlockStamp(rate_hz, self._stamp)
        self._waiting: deque[_Heard] = deque()
        self._lost = 0
        self._arrived = threading.Condition()
        self._stream: Any = None

    def open(self) -> None:
        """Start to listen.

        Raises:
            SensorError: there is no such card, or it cannot do this rate.
            MissingDependencyError: sounddevice or PortAudio is not installed.
        """
        library = self._library or needed("sounddevice", "a microphone")
        self._waiting.clear()
        self._times = BlockStamp(self.rate_hz, self._stamp)
        try:
            self._stream = library.InputStream(
                samplerate=self.rate_hz,
                blocksize=self._block_frames,
                device=self._device,
                channels=len(self.channel_names),
                dtype="float32",
                callback=self._receive,
            )
            self._stream.start()
        except (library.PortAudioError, ValueError) as exc:
            raise SensorError(
                f"{self.name}: {exc}; see which there are: python -m sounddevice"
            ) from exc

    def read(self, timeout_s: float) -> Batch:
        """The sound that has come.

        Raises:
            SensorError: the card stopped.
        """
        with self._arrived:
            if not self._waiting:
                self._arrived.wait(timeout_s)
            heard, lost = list(self._waiting), self._lost
            self._waiting.clear()
            self._lost = 0
        if not heard:
            if self._stream is None or not self._stream.active:
                raise SensorError(f"{self.name}: stopped; was it unplugged?")
            return NOTHING
        values = np.concatenate([each.values for each in heard])
        return Batch(
            Block(self._times_of(heard), values),
            0,
            lost,
            f"{self.name}: sound was lost; this process was too slow" * bool(lost),
        )

    def close(self) -> None:
        """Stop listening."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _times_of(self, heard: Sequence[_Heard]) -> npt.NDArray[np.float64]:
        """The time of each frame; every unbroken stretch ended when its last block came."""
        times, count = [], 0
        for each, following in zip(heard, [*heard[1:], None], strict=True):
            if each.broken:
                self._times.restart()
            count += len(each.values)
            if following is None or following.broken:
                times.append(self._times.times_s(count, each.arrival_s))
                count = 0
        return np.concatenate(times)

    def _receive(self, block: npt.NDArray[np.float32], _frames: int, _t: Any, status: Any) -> None:
        """Called by the sound card's thread, which takes the block back afterwards."""
        with self._arrived:
            overflowed = bool(status.input_overflow)
            self._lost += overflowed
            heard = _Heard(np.array(block, np.float32), self._stamp.now_s(), overflowed)
            if len(self._waiting) == MOST_WAITING:
                self._waiting.popleft()
                self._lost += 1
                self._waiting[0] = self._waiting[0]._replace(broken=True)
            self._waiting.append(heard)
            self._arrived.notify()
