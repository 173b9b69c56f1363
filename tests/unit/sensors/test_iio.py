"""An IIO device's bits become its units, polled or buffered, over a tree like the kernel's."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import IioBuffered, IioPolled, Sensor
from edgeml.sensors.fake_iio import ACCEL, FakeIio
from edgeml.sensors.iio_scan import Element, Layout, ScanType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="IIO is Linux's")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FakeIio]:
    found = FakeIio(tmp_path)
    yield found
    found.unplug()


def scan(text: str) -> ScanType:
    return ScanType.parse(text, "test")


@pytest.mark.parametrize(
    ("text", "stored", "number"),
    [
        ("le:s12/16>>4", b"\xf0\xff", -1),
        ("le:s12/16>>4", b"\x0f\x7f", 0x7F0),
        ("be:s16/16>>0", b"\xff\xfe", -2),
        ("be:u16/16", b"\xff\xfe", 0xFFFE),
        ("le:u8/8", b"\xff", 255),
        ("le:s8/8", b"\x80", -128),
        ("be:s20/32>>12", b"\xff\xff\xf0\x00", -1),
        ("le:u24/32>>8", b"\xaa\x01\x00\x00", 1),
        ("le:s64/64", b"\xff" * 8, -1),
        ("le:u64/64", b"\x00" * 7 + b"\x80", 2.0**63),
    ],
)
def test_a_type_says_which_bits_count(text: str, stored: bytes, number: float) -> None:
    layout = Layout([Element("x", 0, scan(text))])
    assert layout.record_bytes == len(stored)
    np.testing.assert_array_equal(layout.decode(stored)["x"], [[number]])


@given(
    bits=st.integers(1, 32), shift=st.integers(0, 32), order=st.sampled_from(["le", "be"]),
    signed=st.booleans(), data=st.data(),
)  # fmt: skip
def test_every_number_that_fits_comes_back(
    bits: int, shift: int, order: str, signed: bool, data: st.DataObject
) -> None:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    number = data.draw(st.integers(low, high))
    noise = data.draw(st.integers(0, (1 << shift) - 1)) if shift else 0
    word = ((number & (1 << bits) - 1) << shift) | noise
    stored = word.to_bytes(8, "little" if order == "le" else "big")
    layout = Layout([Element("x", 0, scan(f"{order}:{'s' if signed else 'u'}{bits}/64>>{shift}"))])
    assert layout.decode(stored)["x"][0, 0] == number


def test_elements_are_aligned_to_their_own_size_and_the_record_to_the_largest() -> None:
    layout = Layout(
        [
            Element("time", 9, scan("le:s64/64")),
            Element("a", 0, scan("le:u8/8")),
            Element("b", 1, scan("be:s16/16")),
            Element("q", 2, scan("le:s16/16X4")),
        ]
    )
    assert layout.record_bytes == 24
    record = b"\x07" + b"\0" + b"\xff\xfe" + b"\0" * 4
    record += np.array([1, -2, 3, -4], "<i2").tobytes() + np.array([5], "<i8").tobytes()
    raw = layout.decode(record * 2)
    np.testing.assert_array_equal(raw["a"], [[7], [7]])
    np.testing.assert_array_equal(raw["b"], [[-2], [-2]])
    np.testing.assert_array_equal(raw["q"], [[1, -2, 3, -4]] * 2)
    np.testing.assert_array_equal(raw["time"], [[5], [5]])


@pytest.mark.parametrize(
    "text", ["", "s12/16", "le:s17/16", "le:s12/16>>5", "le:s0/16", "le:s12/24", "le:s8/8X0"]
)
def test_a_type_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(SensorError, match="test"):
        scan(text)


def test_polling_gives_units_shared_and_own_and_processed(tree: FakeIio) -> None:
    tree.set("in_accel_x_raw", -8)
    clock = ManualClock(now_s=50.0)
    driver = IioPolled("bma180", ["accel_x", "temp", "pressure"], devices=tree.devices, clock=clock)
    driver.open()
    (sample,) = driver.read(1.0).samples
    np.testing.assert_allclose(sample.values, [-4.0, 20_000.0, 101.325], rtol=1e-6)
    assert sample.time_s == 50.0
    assert driver.read(0.05).samples == ()
    (second,) = driver.read(0.06).samples
    assert second.time_s == pytest.approx(50.1)


def test_polling_a_device_that_went_away_is_an_error(tree: FakeIio) -> None:
    driver = IioPolled("iio:device0", ["accel_x"], devices=tree.devices, clock=ManualClock())
    driver.open()
    tree.unplug()
    with pytest.raises(SensorError, match="unplugged"):
        driver.read(1.0)


@pytest.mark.parametrize(
    ("device", "channels", "message"),
    [
        ("bma181", ["accel_x"], "did you mean 'bma180'"),
        ("bma180", ["accel_w"], "did you mean 'accel_"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    tree: FakeIio, device: str, channels: list[str], message: str
) -> None:
    with pytest.raises(SensorError, match=message):
        IioPolled(device, channels, devices=tree.devices).open()
    with pytest.raises(SensorError, match=message):
        IioBuffered(device, channels, devices=tree.devices, nodes=tree.nodes).open()


def buffered(tree: FakeIio, channels: tuple[str, ...] = ACCEL, **settings: Any) -> IioBuffered:
    driver = IioBuffered(
        "bma180", channels, devices=tree.devices, nodes=tree.nodes, clock=ManualClock(), **settings
    )
    driver.open()
    return driver


def test_a_buffer_gives_records_with_the_kernels_times(tree: FakeIio) -> None:
    driver = buffered(tree)
    for i in range(3):
        tree.record((i, -i, 2047), 1_700_000_000_000_000_000 + i * 10_000_000)
    samples = driver.read(5.0).samples
    driver.close()
    np.testing.assert_array_equal(
        [s.values for s in samples], [[0, 0, 1023.5], [0.5, -0.5, 1023.5], [1, -1, 1023.5]]
    )
    times = [s.time_s - 1_700_000_000 for s in samples]
    np.testing.assert_allclose(times, [0, 0.01, 0.02], atol=1e-6)


def test_opening_chooses_the_elements_and_closing_stops_the_buffer(tree: FakeIio) -> None:
    driver = buffered(tree, ("accel_z", "accel_x"), rate_hz=50.0)
    assert tree.get("scan_elements/in_accel_y_en") == "0"
    assert tree.get("scan_elements/in_temp_en") == "0"
    assert tree.get("scan_elements/in_timestamp_en") == "1"
    assert tree.get("current_timestamp_clock") == "realtime"
    assert tree.get("sampling_frequency") == "50"
    assert tree.get("buffer/length") == "256"
    assert tree.get("buffer/enable") == "1"
    assert driver.period_s == pytest.approx(0.02)
    driver.close()
    assert tree.get("buffer/enable") == "0"


def test_the_rate_that_is_set_is_known_before_the_buffer_is_opened(tree: FakeIio) -> None:
    """So it is held against the model's before a service says that it is ready."""
    driver = IioBuffered("bma180", ACCEL, devices=tree.devices, nodes=tree.nodes)
    assert Sensor(driver).sample_rate_hz == 100.0
    tree.set("sampling_frequency", 0)
    assert Sensor(driver).sample_rate_hz is None
    tree.unplug()
    assert Sensor(driver).sample_rate_hz is None


def test_a_device_that_takes_another_rate_than_it_was_asked_for_is_refused(
    tree: FakeIio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chip has steps, and its driver takes the nearest of them for any number."""

    def nearest_step(path: Path, text: str) -> None:
        path.write_text("119" if path.name == "sampling_frequency" else text)

    monkeypatch.setattr("edgeml.sensors.iio_buffered.write_text", nearest_step)
    with pytest.raises(ConfigError, match=r"rate_hz=100 it gives 119; sampling_frequency_avail"):
        buffered(tree, rate_hz=100.0)
    buffered(tree, rate_hz=115.0).close()


@pytest.mark.parametrize(
    ("rate_hz", "length", "watermark"),
    [(1000.0, 256, "20"), (1000.0, 16, "8"), (100.0, 256, "2"), (10.0, 1, "1")],
)
def test_the_kernel_wakes_this_for_20_ms_of_records_and_never_for_more_than_half_its_buffer(
    tree: FakeIio, rate_hz: float, length: int, watermark: str
) -> None:
    driver = buffered(tree, rate_hz=rate_hz, length=length)
    driver.close()
    assert tree.get("buffer/watermark") == watermark


def test_a_kernel_without_a_watermark_is_read_all_the_same(tree: FakeIio) -> None:
    (tree.folder / "buffer/watermark").unlink()
    driver = buffered(tree, rate_hz=1000.0)
    tree.record((1, 2, 3), 0)
    assert len(driver.read(5.0).samples) == 1
    driver.close()


def test_channels_come_in_the_order_asked_for(tree: FakeIio) -> None:
    driver = buffered(tree, ("accel_z", "accel_x"))
    tree.write_raw(np.array([2 << 4, 6 << 4, 0, 0], "<i2").tobytes() + bytes(8))
    (sample,) = driver.read(5.0).samples
    driver.close()
    np.testing.assert_array_equal(sample.values, [3.0, 1.0])


def test_a_record_that_comes_in_two_parts_is_one_record(tree: FakeIio) -> None:
    driver = buffered(tree)
    tree.write_raw(bytes(10))
    assert driver.read(5.0).samples == ()
    tree.write_raw(bytes(6))
    assert len(driver.read(5.0).samples) == 1
    driver.close()


def test_without_timestamps_the_rate_gives_the_times(tree: FakeIio) -> None:
    for suffix in ("en", "index", "type"):
        (tree.folder / f"scan_elements/in_timestamp_{suffix}").unlink()
    driver = buffered(tree)
    tree.write_raw(bytes(6 * 10))
    samples = driver.read(5.0).samples
    driver.close()
    np.testing.assert_allclose(np.diff([s.time_s for s in samples]), 0.01, atol=1e-6)


def test_without_timestamps_and_a_rate_it_says_what_to_pass(tree: FakeIio) -> None:
    (tree.folder / "scan_elements/in_timestamp_en").unlink()
    (tree.folder / "sampling_frequency").unlink()
    with pytest.raises(ConfigError, match="rate_hz"):
        buffered(tree)


def test_silence_is_an_empty_read(tree: FakeIio) -> None:
    driver = buffered(tree)
    assert driver.read(0.0).samples == ()
    driver.close()


def test_a_buffer_that_went_away_is_an_error_and_closing_it_is_harmless(tree: FakeIio) -> None:
    driver = buffered(tree)
    tree.unplug()
    with pytest.raises(SensorError, match="went away"):
        driver.read(5.0)
    driver.close()


@pytest.mark.parametrize("settings", [{"channels": []}, {"channels": ["x"], "rate_hz": -1.0}])
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        IioPolled("bma180", **settings)
    with pytest.raises(ConfigError):
        IioBuffered("bma180", **settings)
