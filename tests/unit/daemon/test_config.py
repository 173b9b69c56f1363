"""A configuration file is right, or the message names the key and the nearest right one."""

from pathlib import Path

import pytest

from edgeml.daemon.config import read_config
from edgeml.daemon.sources import DRIVERS, open_source
from edgeml.errors import ConfigError
from edgeml.sensors import Replay
from edgeml.sensors.sensor import Sensor

GOOD = """
[device]
id = "pump-7"
model = "activity.tflite"

[source]
driver = "system"
rate_hz = 2.0

[mqtt]
url = "mqtt://broker.local"
fleet = "plant-a"
outbox = "outbox.db"
commit_interval_ms = 50
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "device.toml"
    path.write_text(text)
    return path


def test_every_key_arrives_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read_config(_write(tmp_path, GOOD))
    assert config.device_id == "pump-7"
    assert config.model == tmp_path / "activity.tflite"
    assert config.source.options == {"rate_hz": 2.0}
    assert config.mqtt is not None
    assert config.mqtt.fleet == "plant-a"
    assert config.mqtt.commit_interval_ms == 50
    assert config.mqtt.outbox == str(tmp_path / "outbox.db")
    assert isinstance(open_source(config.source), Sensor)


def test_secrets_that_systemd_handed_over_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    (secrets / "password_file").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    more = 'username = "u"\npassword_file = "secret.txt"\n'
    config = read_config(_write(tmp_path, GOOD + more))
    assert config.mqtt is not None
    assert config.mqtt.password_file == str(secrets / "password_file")
    (secrets / "password_file").unlink()
    config = read_config(_write(tmp_path, GOOD + more))
    assert config.mqtt is not None
    assert config.mqtt.password_file == str(tmp_path / "secret.txt")


def test_without_mqtt_results_stay_here(tmp_path: Path) -> None:
    assert read_config(_write(tmp_path, GOOD[: GOOD.index("[mqtt]")])).mqtt is None


MISTAKES = {
    "a typo in a section": (
        "[device]",
        "[devise]",
        "config.device is missing; is it misspelt as 'devise'",
    ),
    "a typo in a key": ("id =", "idd =", "config.device.id is missing; is it misspelt as 'idd'"),
    "an extra key": ('id = "pump-7"', 'id = "p"\nmodle = "x"', "did you mean 'model'"),
    "a typo in mqtt": (
        "commit_interval_ms",
        "comit_interval_ms",
        "did you mean 'commit_interval_ms'",
    ),
    "a wrong type": ('id = "pump-7"', "id = 7", "config.device.id is 7; it should be a string"),
    "a range": ("= 50", "= -1", "commit_interval_ms is -1"),
    "no url": ('url = "mqtt://broker.local"', "", "config.mqtt.url is missing"),
    "a password": ('url = "mqtt', 'password = "x"\nurl = "mqtt', "password_file or password_env"),
    "not TOML": ("[device]", "[device", "not TOML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_file_and_key(mistake: str, tmp_path: Path) -> None:
    old, new, message = MISTAKES[mistake]
    path = _write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


SOURCE_MISTAKES = {
    "an unknown driver": ('"system"', '"sistem"', "did you mean 'system'"),
    "an unknown argument": ("rate_hz", "rate", "config.source.rate is not a known key"),
    "a missing argument": ('"system"', '"serial"', "config.source.port is missing"),
}


@pytest.mark.parametrize("mistake", SOURCE_MISTAKES)
def test_a_mistake_in_the_source_is_named(mistake: str, tmp_path: Path) -> None:
    old, new, message = SOURCE_MISTAKES[mistake]
    config = read_config(_write(tmp_path, GOOD.replace(old, new, 1)))
    with pytest.raises(ConfigError, match=message):
        open_source(config.source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_a_recording_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("time_s,x\n0,1\n1,2\n")
    source = f'driver = "replay"\nsource = "{tmp_path / "walk.csv"}"\n'
    config = read_config(
        _write(tmp_path, GOOD.replace('driver = "system"\nrate_hz = 2.0\n', source))
    )
    assert isinstance(open_source(config.source), Replay)


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_in_the_table_can_be_imported(driver: str) -> None:
    from importlib import import_module

    module, name = DRIVERS[driver]
    assert callable(getattr(import_module(module), name))
