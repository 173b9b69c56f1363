"""The MPU-6050, an accelerometer and a gyroscope on I2C, read through its FIFO.

It knows the chip's registers (InvenSense, MPU-6000 and MPU-6050 Register Map,
revision 4.2). The chip clocks the samples and keeps up to 85 of them, so that
a busy Pi neither loses one nor shifts it in time.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.i2c import BLOCK_BYTES, Bus, open_bus
from edgeml.sensors.pace import BlockStamp, Stamp
from edgeml.sensors.sample import Block

SMPLRT_DIV: Final = 0x19
CONFIG: Final = 0x1A
GYRO_CONFIG: Final = 0x1B
ACCEL_CONFIG: Final = 0x1C
FIFO_EN: Final = 0x23
INT_STATUS: Final = 0x3A
USER_CTRL: Final = 0x6A
PWR_MGMT_1: Final = 0x6B
FIFO_COUNT_H: Final = 0x72
FIFO_R_W: Final = 0x74
WHO_AM_I: Final = 0x75

IDENTITY: Final = 0x68
FIFO_BYTES: Final = 1024
SAMPLE_BYTES: Final = 12

FIFO_EN_ACCEL_AND_GYRO: Final = 0x78
INT_FIFO_OVERFLOW: Final = 0x10
USER_FIFO_EN: Final = 0x40
USER_FIFO_RESET: Final = 0x04
PWR_RESET: Final = 0x80
PWR_SLEEP: Final = 0x40
PWR_CLOCK_GYRO_X: Final = 0x01

GRAVITY: Final = 9.80665
ACCEL_RANGES_G: Final = (2, 4, 8, 16)
"""Full scales by AFS_SEL: 32768 counts each."""
GYRO_RANGES_DPS: Final = (250, 500, 1000, 2000)
"""Full scales by FS_SEL; the data sheet gives 131, 65.5, 32.8 and 16.4 counts a degree."""
_GYRO_COUNTS: Final = (131.0, 65.5, 32.8, 16.4)
_FILTER_HZ: Final = (184, 94, 44, 21, 10, 5)
"""The accelerometer's low-pass filter by DLPF_CFG from 1 on; with it the chip counts 1 kHz."""
_INNER_HZ: Final = 1000.0
_RESET_S: Final = 0.1
_COLLECT_S: Final = 0.02
"""Samples wait this long in the FIFO, so that a fast chip does not fill the bus."""
_STILL_ACCEL: Final = 0.5
_STILL_GYRO: Final = 0.1

CHANNELS: Final = (
    *(f"accelerometer_{axis}" for axis in "xyz"),
    *(f"gyroscope_{axis}" for axis in "xyz"),
)


class Mpu6050:
    """Accelerometer in m/s² and gyroscope in rad/s, each x, y, z; a driver for `Sensor`.

    Args:
        bus: the number of the I2C bus, or what opens one (`lambda: FakeBus(…)` in tests).
        address: 0x68, or 0x69 with AD0 high.
        rate_hz: samples a second, 1000 divided by 1 to 256; the nearest such is taken.
        accel_range_g: full scale, one of 2, 4, 8, 16.
        gyro_range_dps: full scale, one of 250, 500, 1000, 2000.
        channels: some of the six, in the model's order; all by default.
        offsets: six numbers to take off each reading, in its unit, from `rest_offsets`.
        identity: what WHO_AM_I answers; some boards sold as MPU-6050 carry an
            MPU-6500 (0x70), whose registers are the same here.
        clock: the time.

    Raises:
        ConfigError: an argument that the chip has no setting for.
    """

    def __init__(
        self,
        bus: int | Callable[[], Bus] = 1,
        *,
        address: int = 0x68,
        rate_hz: float = 100.0,
        accel_range_g: int = 4,
        gyro_range_dps: int = 500,
        channels: Sequence[str] = CHANNELS,
        offsets: Sequence[float] = (0.0,) * 6,
        identity: int = IDENTITY,
        clock: Clock | None = None,
    ) -> None:
        self._accel_select = _selected("accel_range_g", accel_range_g, ACCEL_RANGES_G)
        self._gyro_select = _selected("gyro_range_dps", gyro_range_dps, GYRO_RANGES_DPS)
        if not _INNER_HZ / 256 <= rate_hz <= _INNER_HZ:
            raise ConfigError(f"rate_hz={rate_hz}: the chip does 3.90625 to 1000")
        self._divider = min(round(_INNER_HZ / rate_hz), 256)
        self.rate_hz = _INNER_HZ / self._divider
        self.period_s = 1.0 / self.rate_hz
        self.channel_names = tuple(channels)
        for name in self.channel_names:
            if name not in CHANNELS:
                raise ConfigError(f"no channel {name!r}{nearest(name, CHANNELS)}")
        self._picked = [CHANNELS.index(name) for name in self.channel_names]
        where = f"i2c-{bus}" if isinstance(bus, int) else "I2C"
        self.name = f"MPU-6050 at {where}:{address:#04x}"
        self._open_bus: Callable[[], Bus] = partial(open_bus, bus) if isinstance(bus, int) else bus
        self._address = address
        self._identity = identity
        self._offsets = np.asarray(offsets, np.float64)
        if self._offsets.shape != (len(CHANNELS),) or not np.isfinite(self._offsets).all():
            raise ConfigError("offsets are six finite numbers, one for each channel")
        self._scale = np.repeat(
            [
                accel_range_g * GRAVITY / 32768,
                np.pi / 180 / _GYRO_COUNTS[self._gyro_select],
            ],
            3,
        )
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stamp = Stamp(self._clock)
        self._times = BlockStamp(self.rate_hz, self._stamp)
        self._bus: Bus | None = None

    def open(self) -> None:
        """Reset the chip, set it up, and start its FIFO.

        Raises:
            SensorError: the bus is not there, nothing answers, or another chip does.
            MissingDependencyError: smbus2 is not installed.
        """
        bus = self._bus = self._open_bus()
        at = self._address
        found = bus.read_byte_data(at, WHO_AM_I)
        if found != self._identity:
            raise SensorError(
                f"{self.name}: WHO_AM_I answers {found:#04x} and not {self._identity:#04x}, so it "
                f"is another chip; if its registers are the same, pass identity={found:#04x}"
            )
        bus.write_byte_data(at, PWR_MGMT_1, PWR_RESET)
        self._clock.sleep(_RESET_S)
        settings = (
            (PWR_MGMT_1, PWR_CLOCK_GYRO_X),  # out of sleep, on the gyroscope's steadier clock
            (CONFIG, self._filter()),
            (SMPLRT_DIV, self._divider - 1),
            (GYRO_CONFIG, self._gyro_select << 3),
            (ACCEL_CONFIG, self._accel_select << 3),
            (FIFO_EN, FIFO_EN_ACCEL_AND_GYRO),
        )
        for register, value in settings:
            bus.write_byte_data(at, register, value)
        for register, value in settings:
            if (read := bus.read_byte_data(at, register)) != value:
                raise SensorError(
                    f"{self.name}: register {register:#04x} holds {read:#04x} after "
                    f"{value:#04x} was written; check the wiring and the pull-ups"
                )
        self._restart_fifo(bus)

    def read(self, timeout_s: float) -> Batch:
        """What the FIFO holds, waiting for the next sample where it holds none.

        Raises:
            OSError: the chip does not answer any more.
        """
        bus = self._bus
        if bus is None:
            raise SensorError(f"{self.name}: is not open")
        count = self._waiting(bus)
        if not count:
            self._clock.sleep(min(timeout_s, max(self.period_s, _COLLECT_S)))
            count = self._waiting(bus)
            if not count:
                return NOTHING
        values = self._values(self._drain(bus, count * SAMPLE_BYTES))
        # Asked afterwards, since an overflow shifts what is read while it happens, too.
        if bus.read_byte_data(self._address, INT_STATUS) & INT_FIFO_OVERFLOW:
            self._restart_fifo(bus)
            return Batch((), 0, 1, f"{self.name}: its FIFO overflowed; this process was too slow")
        times = self._times.times_s(count)
        return Batch(Block(times, values))

    def close(self) -> None:
        """Put the chip to sleep and let go of the bus."""
        bus, self._bus = self._bus, None
        if bus is None:
            return
        try:
            bus.write_byte_data(self._address, PWR_MGMT_1, PWR_SLEEP)
        except OSError:
            pass  # it is not there to be put to sleep
        finally:
            bus.close()

    def _filter(self) -> int:
        """DLPF_CFG for the widest band that does not alias at this rate."""
        fits = [i for i, hz in enumerate(_FILTER_HZ, start=1) if hz <= self.rate_hz / 2]
        return fits[0] if fits else len(_FILTER_HZ)

    def _restart_fifo(self, bus: Bus) -> None:
        bus.write_byte_data(self._address, USER_CTRL, USER_FIFO_RESET)
        bus.write_byte_data(self._address, USER_CTRL, USER_FIFO_EN)
        self._times.restart()

    def _waiting(self, bus: Bus) -> int:
        high, low = bus.read_i2c_block_data(self._address, FIFO_COUNT_H, 2)
        return (high << 8 | low) // SAMPLE_BYTES

    def _drain(self, bus: Bus, wanted: int) -> bytes:
        most = BLOCK_BYTES // SAMPLE_BYTES * SAMPLE_BYTES
        data = bytearray()
        while len(data) < wanted:
            length = min(most, wanted - len(data))
            block = bus.read_i2c_block_data(self._address, FIFO_R_W, length)
            if len(block) != length:
                raise SensorError(f"{self.name}: {len(block)} bytes of {length} from its FIFO")
            data += bytes(block)
        return bytes(data)

    def _values(self, data: bytes) -> npt.NDArray[np.float32]:
        counts = np.frombuffer(data, ">i2").reshape(-1, len(CHANNELS))
        values: npt.NDArray[np.float64] = counts * self._scale - self._offsets
        return values[:, self._picked].astype(np.float32)


def rest_offsets(samples: npt.ArrayLike, up: str = "z") -> tuple[float, ...]:
    """The offsets of a chip that lay still: what it read, less gravity.

    Args:
        samples: (n, 6) readings in m/s² and rad/s, some seconds of them.
        up: the axis that pointed up, `z`, or `-z` and so on.

    Raises:
        ConfigError: no such axis, not six channels, or the chip was moved.
    """
    readings = np.asarray(samples, np.float64)
    axis = up.removeprefix("-")
    if axis not in ("x", "y", "z"):
        raise ConfigError(f"up={up!r} is none of x, y, z, -x, -y, -z")
    if readings.ndim != 2 or readings.shape[1] != len(CHANNELS) or len(readings) < 2:
        raise ConfigError(f"readings of shape {readings.shape}; it takes (n, 6)")
    spread = readings.std(axis=0)
    if not (spread < (_STILL_ACCEL,) * 3 + (_STILL_GYRO,) * 3).all():
        raise ConfigError("the sensor moved while it was measured; lay it still and repeat")
    mean = readings.mean(axis=0)
    mean["xyz".index(axis)] -= -GRAVITY if up.startswith("-") else GRAVITY
    return tuple(float(value) for value in mean)


def _selected(name: str, value: int, known: tuple[int, ...]) -> int:
    if value not in known:
        raise ConfigError(f"{name}={value} is none of {', '.join(map(str, known))}")
    return known.index(value)
