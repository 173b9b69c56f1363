"""Every machine tells something of itself, and what it does not tell is not made up."""

import sys
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import System
from edgeml.sensors.system import available, cpu_temperature_c, throttled

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A Raspberry Pi's files."""
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "gpu-thermal")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "40000")
    write(tmp_path, "sys/class/thermal/thermal_zone1/type", "cpu-thermal")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "61322")
    write(tmp_path, "proc/loadavg", "2.00 1.00 0.50 1/200 4321")
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: ARM\nprocessor\t: 1\n")
    write(tmp_path, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n")
    write(tmp_path, THROTTLED, "0")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_a_pi_tells_all_four(pi: Path) -> None:
    clock = ManualClock(now_s=9.0)
    driver = System(root=pi, clock=clock)
    assert driver.channel_names == (
        "cpu_temperature_c",
        "load_per_cpu",
        "memory_used",
        "throttled",
    )
    driver.open()
    (sample,) = driver.read(0.1).samples
    assert sample.values.tolist() == pytest.approx([61.322, 1.0, 0.75, 0.0])
    assert sample.time_s == 9.0
    assert driver.read(0.1).samples == ()


@pytest.mark.parametrize(
    ("text", "now"), [("0", 0), ("50000", 0), ("50005", 1), ("8", 1), ("throttled=0x4", 1)]
)
def test_throttled_is_about_now_and_not_about_the_past(pi: Path, text: str, now: int) -> None:
    write(pi, THROTTLED, text)
    assert throttled(pi) == now


def test_the_first_zone_stands_in_where_none_is_the_cpus(pi: Path) -> None:
    write(pi, "sys/class/thermal/thermal_zone1/type", "battery")
    assert cpu_temperature_c(pi) == 40.0


def test_a_channel_that_the_machine_has_not_is_refused_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "proc/loadavg", "0.5 0 0 1/2 3")
    write(tmp_path, "proc/cpuinfo", "")
    assert System(root=tmp_path).channel_names == ("load_per_cpu",)
    with pytest.raises(ConfigError, match="it has load_per_cpu"):
        System(["throttled"], root=tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'throttled'"):
        System(["throtled"], root=tmp_path)


def test_a_machine_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing"):
        System(root=tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("proc/meminfo", "MemTotal: 5 kB"), ("proc/loadavg", "high"), (THROTTLED, "maybe")],
)
def test_a_file_that_says_something_else_is_an_error(pi: Path, name: str, text: str) -> None:
    driver = System(root=pi, clock=ManualClock())
    driver.open()
    write(pi, name, text)
    with pytest.raises(SensorError):
        driver.read(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the files are Linux's")
def test_this_very_machine_tells_its_load_and_memory() -> None:
    assert {"load_per_cpu", "memory_used"} <= set(available())
    driver = System(["memory_used", "load_per_cpu"])
    driver.open()
    (sample,) = driver.read(1.0).samples
    assert 0 < sample.values[0] < 1
    assert sample.values[1] >= 0
