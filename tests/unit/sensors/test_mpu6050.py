"""The driver and the chip understand each other, register by register."""

import errno
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, MissingDependencyError, SensorError
from edgeml.sensors import Mpu6050, Sample, mpu6050
from edgeml.sensors.fakes import FakeBus, FakeMpu6050
from edgeml.sensors.mpu6050 import GRAVITY, rest_offsets

AT = 0x68


def opened(chip: FakeMpu6050, clock: ManualClock | None = None, **settings: Any) -> Mpu6050:
    driver = Mpu6050(lambda: FakeBus({AT: chip}), clock=clock or ManualClock(), **settings)
    driver.open()
    return driver


def test_gravity_is_read_as_gravity_in_every_range() -> None:
    for accel_range_g in mpu6050.ACCEL_RANGES_G:
        chip = FakeMpu6050()
        driver = opened(chip, accel_range_g=accel_range_g)
        chip.measure((0, 0, GRAVITY), (0, 0, 0))
        (sample,) = driver.read(0.1).samples
        assert sample.values.dtype == np.float32
        np.testing.assert_allclose(sample.values, [0, 0, GRAVITY, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("gyro_range_dps", mpu6050.GYRO_RANGES_DPS)
@given(
    rotation=st.tuples(*[st.floats(-4.0, 4.0, allow_subnormal=False)] * 3),
    acceleration=st.tuples(*[st.floats(-19, 19, allow_subnormal=False)] * 3),
)
def test_what_the_chip_measures_is_what_the_driver_gives(
    gyro_range_dps: int,
    rotation: tuple[float, float, float],
    acceleration: tuple[float, float, float],
) -> None:
    chip = FakeMpu6050()
    driver = opened(chip, gyro_range_dps=gyro_range_dps, accel_range_g=2)
    chip.measure(acceleration, rotation)
    (sample,) = driver.read(0.1).samples
    accel_step = 2 * GRAVITY / 32768
    gyro_step = np.radians(gyro_range_dps / 32768)
    np.testing.assert_allclose(sample.values[:3], acceleration, atol=accel_step)
    np.testing.assert_allclose(sample.values[3:], rotation, atol=2 * gyro_step, rtol=1e-3)


def test_the_fifo_gives_every_sample_in_order_with_steady_times() -> None:
    clock = ManualClock(now_s=100.0)
    chip = FakeMpu6050()
    driver = opened(chip, clock, rate_hz=200.0)
    samples: list[Sample] = []
    for block in range(5):
        for i in range(10):
            chip.measure((0, 0, 0.1 * (10 * block + i)), (0, 0, 0))
        clock.advance(0.05)
        samples += driver.read(0.1).samples
    assert len(samples) == 50
    np.testing.assert_allclose([s.values[2] for s in samples], 0.1 * np.arange(50), atol=0.002)
    np.testing.assert_allclose(np.diff([s.time_s for s in samples]), 0.005, atol=1e-5)


def test_an_overflow_is_counted_and_what_is_left_of_it_is_thrown_away() -> None:
    chip = FakeMpu6050()
    driver = opened(chip)
    for _ in range(100):
        chip.measure((1, 2, 3), (0, 0, 0))
    batch = driver.read(0.1)
    assert (len(batch.samples), batch.lost) == (0, 1)
    assert "overflowed" in batch.complaint
    chip.measure((0, 0, 5), (0, 0, 0))
    (sample,) = driver.read(0.1).samples
    assert sample.values[2] == pytest.approx(5, abs=0.01)


def test_what_is_read_while_the_fifo_overflows_is_thrown_away_too() -> None:
    """The chip writes over the oldest bytes, and 1024 of them are no whole number of samples."""

    class Slow(FakeBus):
        def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
            block = super().read_i2c_block_data(i2c_addr, register, length)
            for _ in range(90 if register == mpu6050.FIFO_R_W else 0):
                chip.measure((1, 2, 3), (0, 0, 0))
            return block

    chip = FakeMpu6050()
    driver = Mpu6050(lambda: Slow({0x68: chip}), clock=ManualClock())
    driver.open()
    for _ in range(4):
        chip.measure((1, 2, 3), (0, 0, 0))
    batch = driver.read(0.1)
    assert (len(batch.samples), batch.lost) == (0, 1)


def test_another_chip_is_named_and_may_be_allowed() -> None:
    with pytest.raises(SensorError, match="identity=0x70"):
        opened(FakeMpu6050(identity=0x70))
    opened(FakeMpu6050(identity=0x70), identity=0x70)


def test_nobody_at_the_address_is_the_buss_own_error() -> None:
    driver = Mpu6050(lambda: FakeBus({}), clock=ManualClock())
    with pytest.raises(OSError, match=r"I/O") as error:
        driver.open()
    assert error.value.errno == errno.EREMOTEIO
    driver.close()


def test_a_register_that_does_not_hold_its_value_is_found() -> None:
    class Loose(FakeMpu6050):
        def write(self, register: int, value: int) -> None:
            super().write(register, value & 0x7F if register == mpu6050.SMPLRT_DIV else value)

    with pytest.raises(SensorError, match="register 0x19"):
        opened(Loose(), rate_hz=5.0)


def test_offsets_are_taken_off() -> None:
    chip = FakeMpu6050()
    driver = opened(chip, offsets=(0.1, 0, 0, 0, 0, -0.02))
    chip.measure((0.1, 0, GRAVITY), (0, 0, -0.02))
    (sample,) = driver.read(0.1).samples
    np.testing.assert_allclose(sample.values, [0, 0, GRAVITY, 0, 0, 0], atol=2e-3)


def test_a_model_of_the_accelerometer_alone_has_its_channels_in_its_order() -> None:
    chip = FakeMpu6050()
    wanted = ("accelerometer_z", "accelerometer_x", "gyroscope_y")
    driver = opened(chip, channels=wanted, offsets=(0.5, 0, 0, 0, 0, 0))
    chip.measure((1.0, 2.0, GRAVITY), (0, 0.25, 0))
    assert driver.channel_names == wanted
    (sample,) = driver.read(0.1).samples
    np.testing.assert_allclose(sample.values, [GRAVITY, 0.5, 0.25], atol=0.01)


def test_a_closed_chip_sleeps_and_its_bus_is_closed() -> None:
    chip = FakeMpu6050()
    bus = FakeBus({AT: chip})
    driver = Mpu6050(lambda: bus, clock=ManualClock())
    driver.open()
    driver.close()
    driver.close()
    assert bus.closed
    assert chip.read(mpu6050.PWR_MGMT_1) == mpu6050.PWR_SLEEP


@pytest.mark.parametrize(
    ("asked_hz", "got_hz", "filter_hz"),
    [(100, 100, 44), (50, 50, 21), (60, 1000 / 17, 21), (1000, 1000, 184), (4, 4, 5)],
)
def test_the_rate_is_the_nearest_that_the_chip_has_and_the_filter_keeps_below_half_of_it(
    asked_hz: float, got_hz: float, filter_hz: int
) -> None:
    chip = FakeMpu6050()
    driver = opened(chip, rate_hz=asked_hz)
    assert driver.rate_hz == pytest.approx(got_hz)
    assert (184, 94, 44, 21, 10, 5)[chip.read(mpu6050.CONFIG) - 1] == filter_hz


@pytest.mark.parametrize(("up", "axis", "sign"), [("z", 2, 1), ("-x", 0, -1)])
def test_rest_offsets_are_the_reading_less_gravity(up: str, axis: int, sign: int) -> None:
    truth = np.array([0.2, -0.1, 0.05, 0.01, -0.02, 0.03])
    still = np.tile(truth, (100, 1)) + np.random.default_rng(0).normal(0, 0.01, (100, 6))
    still[:, axis] += sign * GRAVITY
    np.testing.assert_allclose(np.array(rest_offsets(still, up)), truth, atol=0.01)


@pytest.mark.parametrize(
    ("samples", "up", "message"),
    [
        (np.zeros((10, 6)), "w", "none of x, y, z"),
        (np.zeros((10, 3)), "z", r"\(n, 6\)"),
        (np.random.default_rng(0).normal(0, 3, (50, 6)), "z", "moved"),
    ],
)
def test_rest_offsets_of_what_did_not_rest_are_refused(
    samples: np.ndarray[tuple[int, int], np.dtype[np.float64]], up: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rest_offsets(samples, up)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accel_range_g": 3}, "2, 4, 8, 16"),
        ({"gyro_range_dps": 100}, "250, 500"),
        ({"rate_hz": 5000.0}, "3.9"),
        ({"offsets": (0, 0, 0)}, "six"),
        ({"channels": ["accelerometer_x", "gyroscope"]}, "no channel 'gyroscope'; did you mean"),
    ],
)
def test_settings_that_the_chip_has_not_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mpu6050(**settings)


def test_a_real_bus_that_is_not_there_says_how_to_get_one() -> None:
    with pytest.raises((SensorError, MissingDependencyError), match=r"I2C bus 250"):
        Mpu6050(250).open()
