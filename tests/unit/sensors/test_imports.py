"""A driver costs nothing until it is used, and what it lacks it names."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import edgeml.sensors
from edgeml.errors import MissingDependencyError
from edgeml.sensors.needs import PACKAGES, needed

HEAVY = ("cv2", "PIL", "serial", "smbus2", "sounddevice", "paho", "edgeml.preprocess")


def test_the_package_loads_no_driver_and_no_drivers_library() -> None:
    code = (
        "import sys, edgeml.sensors as s; s.Sensor, s.Live, s.Replay, s.Windower, s.Mpu6050, "
        f"s.SerialLines, s.System; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    root = Path(edgeml.sensors.__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", edgeml.sensors.__all__)
def test_every_name_is_where_it_is_said_to_be(name: str) -> None:
    assert getattr(edgeml.sensors, name).__name__ == name
    assert name in dir(edgeml.sensors)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Lidar"):
        _ = edgeml.sensors.Lidar


@pytest.mark.parametrize("module", PACKAGES)
def test_a_missing_library_is_named_with_the_command(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    importlib.invalidate_caches()
    with pytest.raises(
        MissingDependencyError, match=r"pip install .*edgeml-….whl\[sensors\]"
    ) as error:
        needed(module, "the test")
    assert PACKAGES[module] in str(error.value)


def test_a_library_without_its_system_library_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(MissingDependencyError, match="apt install libportaudio2"):
        needed("sounddevice", "a microphone")
