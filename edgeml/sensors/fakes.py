"""Sensors without hardware, speaking the interfaces of the real ones, down to the registers.

For your own tests as much as for those of this package: give `Mpu6050` a
`FakeBus`, `Microphone` a `FakeSoundCard`, `Camera` a `FakeCamera`, `MqttTopic` a
`FakeSubscriber`, `SerialLines` the port of a `FakeBoard` and `Sensor` a
`FakeDriver`, and pull their plugs.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock
from edgeml.errors import SensorError
from edgeml.sensors import mpu6050
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.images import Size
from edgeml.sensors.sample import Sample

_ACCEL_OUT: Final = 0x3B
_GYRO_OUT: Final = 0x43
_INT_DATA_READY: Final = 0x01
_REGISTERS: Final = 0x80


class FakeDriver:
    """A driver that does what its script says, one step a read; silent when it is over.

    Args:
        script: samples to give, errors to raise; None for a read without anything.
        clock: what its waiting moves.
        period_s: how often it should speak.
        openings: what each `open` raises, None for an opening that goes well.
    """

    def __init__(
        self,
        script: Iterable[Sample | Batch | OSError | None],
        clock: Clock,
        *,
        period_s: float | None = 0.1,
        openings: Iterable[OSError | None] = (),
    ) -> None:
        self.name = "a fake sensor"
        self.channel_names: tuple[str, ...] = ("value",)
        self.period_s = period_s
        self.opened = self.closed = 0
        self.on_open: Callable[[], None] = lambda: None
        self._script = iter(script)
        self._openings = iter(openings)
        self._clock = clock

    def open(self) -> None:
        """Open, or raise what the script says."""
        self.opened += 1
        self.on_open()
        error = next(self._openings, None)
        if error is not None:
            raise error

    def read(self, timeout_s: float) -> Batch:
        """The script's next step."""
        step = next(self._script, None)
        if isinstance(step, OSError):
            raise step
        if step is None:
            self._clock.sleep(timeout_s)
            return NOTHING
        return step if isinstance(step, Batch) else Batch((step,))

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class FakeBus:
    """An I2C bus with chips at addresses; where none is, it answers as Linux does."""

    def __init__(self, chips: Mapping[int, "FakeMpu6050"]) -> None:
        self.chips = dict(chips)
        self.closed = False

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        """One register."""
        return self._chip(i2c_addr).read(register)

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Set one register."""
        self._chip(i2c_addr).write(register, value)

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Registers from this one on; a FIFO's register again and again."""
        chip = self._chip(i2c_addr)
        step = 0 if register == mpu6050.FIFO_R_W else 1
        return [chip.read(register + i * step) for i in range(length)]

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def _chip(self, address: int) -> "FakeMpu6050":
        if address not in self.chips:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return self.chips[address]


class FakeMpu6050:
    """The registers of an MPU-6050: asleep after a reset, a FIFO that overflows, full scales.

    Args:
        identity: what WHO_AM_I answers.
    """

    def __init__(self, identity: int = mpu6050.IDENTITY) -> None:
        self._identity = identity
        self._registers = bytearray(_REGISTERS)
        self._fifo: deque[int] = deque()
        self._reset()

    def measure(self, acceleration: Sequence[float], rotation: Sequence[float]) -> None:
        """Take one sample: m/s² and rad/s, as a chip that is awake and counts would."""
        if self._registers[mpu6050.PWR_MGMT_1] & mpu6050.PWR_SLEEP:
            return
        accel_g = mpu6050.ACCEL_RANGES_G[self._registers[mpu6050.ACCEL_CONFIG] >> 3 & 3]
        gyro_counts = (131.0, 65.5, 32.8, 16.4)[self._registers[mpu6050.GYRO_CONFIG] >> 3 & 3]
        counts = [
            *(np.asarray(acceleration) / mpu6050.GRAVITY * 32768 / accel_g),
            *(np.degrees(rotation) * gyro_counts),
        ]
        data = np.clip(np.rint(counts), -32768, 32767).astype(">i2").tobytes()
        self._registers[_ACCEL_OUT : _ACCEL_OUT + 6] = data[:6]
        self._registers[_GYRO_OUT : _GYRO_OUT + 6] = data[6:]
        self._registers[mpu6050.INT_STATUS] |= _INT_DATA_READY
        fifo_on = self._registers[mpu6050.USER_CTRL] & mpu6050.USER_FIFO_EN
        if fifo_on and self._registers[mpu6050.FIFO_EN] == mpu6050.FIFO_EN_ACCEL_AND_GYRO:
            self._fifo.extend(data)
            while len(self._fifo) > mpu6050.FIFO_BYTES:
                self._fifo.popleft()
                self._registers[mpu6050.INT_STATUS] |= mpu6050.INT_FIFO_OVERFLOW

    def read(self, register: int) -> int:
        """One register, with what reading it does."""
        if register == mpu6050.FIFO_R_W:
            return self._fifo.popleft() if self._fifo else 0xFF
        if register in (mpu6050.FIFO_COUNT_H, mpu6050.FIFO_COUNT_H + 1):
            return len(self._fifo) >> (8 if register == mpu6050.FIFO_COUNT_H else 0) & 0xFF
        value = self._registers[register]
        if register == mpu6050.INT_STATUS:
            self._registers[register] = 0
        return value

    def write(self, register: int, value: int) -> None:
        """Set one register, with what setting it does."""
        if register == mpu6050.PWR_MGMT_1 and value & mpu6050.PWR_RESET:
            self._reset()
            return
        if register == mpu6050.USER_CTRL and value & mpu6050.USER_FIFO_RESET:
            self._fifo.clear()
            value &= ~mpu6050.USER_FIFO_RESET
        if register != mpu6050.WHO_AM_I:
            self._registers[register] = value

    def _reset(self) -> None:
        self._registers[:] = bytes(_REGISTERS)
        self._registers[mpu6050.PWR_MGMT_1] = mpu6050.PWR_SLEEP
        self._registers[mpu6050.WHO_AM_I] = self._identity
        self._fifo.clear()


class FakeSoundCard:
    """What `Microphone` needs of sounddevice: hand it sound with `hear`."""

    class PortAudioError(Exception):
        """What sounddevice raises."""

    def __init__(self) -> None:
        self.plugged = True
        self._callback: Callable[..., None] | None = None
        self._stream: SimpleNamespace | None = None

    def InputStream(  # noqa: N802  sounddevice's name for it
        self, *, callback: Callable[..., None], **_settings: Any
    ) -> SimpleNamespace:
        """Open the card.

        Raises:
            PortAudioError: it is unplugged.
        """
        if not self.plugged:
            raise self.PortAudioError("Error querying device -1")
        self._callback = callback
        self._stream = SimpleNamespace(active=False, start=self._start, close=self._close)
        return self._stream

    def hear(self, sound: npt.NDArray[np.float32], *, overflow: bool = False) -> None:
        """One block, float32 (frames, channels), as the card's thread would bring it."""
        if self._callback is not None:
            status = SimpleNamespace(input_overflow=overflow)
            self._callback(sound, len(sound), None, status)

    def unplug(self) -> None:
        """Stop as a card that is pulled out."""
        self.plugged = False
        self._close()

    def _start(self) -> None:
        if self._stream is not None:
            self._stream.active = True

    def _close(self) -> None:
        self._callback = None
        if self._stream is not None:
            self._stream.active = False


class FakeCamera:
    """What opens a camera for `Camera`, with frames of your own; it ends when they do."""

    def __init__(self, frames: Iterable[npt.NDArray[np.uint8]]) -> None:
        self._frames = iter(frames)
        self.skip: Callable[[], bool] | None = None
        self.plugged = True
        self.released = 0

    def __call__(self, device: int | str, size: Size, rate_hz: float) -> "FakeCamera":  # noqa: ARG002
        """Open it.

        Raises:
            SensorError: it is unplugged.
        """
        if not self.plugged:
            raise SensorError(f"camera {device}: cannot be opened")
        return self

    def read(self) -> npt.NDArray[Any] | None:
        """The next frame."""
        return next(self._frames, None) if self.plugged else None

    def release(self) -> None:
        """Count it."""
        self.released += 1


class FakeSubscriber:
    """What `MqttTopic` needs of a line to a broker: hand it messages with `publish`."""

    def __init__(self) -> None:
        self.online = True
        self._lock = threading.Lock()
        self._receivers: dict[str, Callable[[bytes], None]] = {}

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> Callable[[], None]:
        """Subscribe.

        Raises:
            SensorError: there is no line.
        """
        if not self.online:
            raise SensorError("the line is down")
        with self._lock:
            self._receivers[topic] = receive
        return lambda: self._receivers.pop(topic, None) and None

    def publish(self, topic: str, payload: bytes) -> None:
        """A message from elsewhere."""
        with self._lock:
            receive = self._receivers.get(topic)
        if receive is not None:
            receive(payload)


class FakeBoard:
    """A microcontroller that prints what it is told to, on a pseudo-terminal.

    `port` is what `SerialLines` opens.
    """

    def __init__(self) -> None:
        import pty  # POSIX only

        self._main, self._far = pty.openpty()
        self.port = os.ttyname(self._far)
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print, or nothing when it is unplugged."""
        with self._lock:
            if self._main >= 0:
                os.write(self._main, text.encode())

    def unplug(self) -> None:
        """Hang up; harmless when it has."""
        with self._lock:
            for fd in (self._main, self._far):
                if fd >= 0:
                    os.close(fd)
            self._main = self._far = -1
