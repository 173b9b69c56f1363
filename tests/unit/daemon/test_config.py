"""A configuration file is right, or the message names the key and the nearest right one."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from edgeml.daemon.config import SourceConfig, read_config
from edgeml.daemon.models import CascadeConfig, files
from edgeml.daemon.sources import DRIVERS, open_source
from edgeml.errors import ConfigError
from edgeml.sampling import Samples
from edgeml.sensors import DutyLimits, MqttTopic, Replay
from edgeml.sensors.sensor import Sensor
from edgeml.sync.settings import Mqtt
from edgeml.sync.subscription import Subscriptions

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
    assert config.models == {"": (tmp_path / "activity.tflite",)}
    assert config.sources[""].options == {"rate_hz": 2.0}
    assert config.mqtt is not None
    assert config.mqtt.fleet == "plant-a"
    assert config.mqtt.commit_interval_ms == 50
    assert config.mqtt.outbox == str(tmp_path / "outbox.db")
    assert isinstance(open_source(config.sources[""]), Sensor)


def test_a_sensors_channels_get_the_models_names_in_the_file() -> None:
    options = {"device": "imu", "channels": ["accel_x", "accel_y"], "rate_hz": 100.0}
    named = SourceConfig("iio-buffered", {**options, "names": ["x", "y"]})
    source = open_source(named)
    assert isinstance(source, Sensor)
    assert source.channel_names == ("x", "y")
    with pytest.raises(ConfigError, match="names has 1 names"):
        open_source(SourceConfig("iio-buffered", {**options, "names": ["x"]}))


def test_a_sensors_patience_stands_in_the_file() -> None:
    with pytest.raises(ConfigError, match="give_up_s=-1"):
        open_source(SourceConfig("system", {"give_up_s": -1.0}))
    with pytest.raises(ConfigError, match="did you mean 'give_up_s'"):
        open_source(SourceConfig("system", {"giveup_s": 1.0}))
    sensor = open_source(SourceConfig("system", {"give_up_s": 5.0, "first_pause_s": 0.1}))
    assert isinstance(sensor, Sensor)
    assert (sensor._patience.give_up_s, sensor._patience.first_pause_s) == (5.0, 0.1)


TOPIC = {"topic": "home/kitchen", "channels": {"t": "temperature"}}


def test_a_topic_is_listened_to_at_the_broker_of_the_file_or_at_its_own() -> None:
    sync = Mqtt("mqtts://broker.local", username="u")
    other = "mqtt://127.0.0.1"
    for options, url in ((TOPIC, sync.url), ({**TOPIC, "url": other}, other)):
        source = open_source(SourceConfig("mqtt", options), sync, "d-source-")
        assert isinstance(source, Sensor)
        assert source.channel_names == ("t",)
        assert isinstance(source._driver, MqttTopic)
        line = source._driver._subscriber
        assert isinstance(line, Subscriptions)
        assert line._connection.url == url
    with pytest.raises(ConfigError, match=r"source\.url is missing, and there is no \[mqtt\]"):
        open_source(SourceConfig("mqtt", TOPIC))
    with pytest.raises(ConfigError, match=r"source\.channels is \['t'\]; it should be an object"):
        open_source(SourceConfig("mqtt", {**TOPIC, "channels": ["t"]}), sync)


def test_samples_without_a_way_home_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.samples: they go home by \[mqtt\]"):
        read_config(_write(tmp_path, GOOD[: GOOD.index("[mqtt]")] + "[samples]\none_in = 9\n"))


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
    "a model in the source": (
        'model = "activity.tflite"\n\n[source]\n',
        '[source]\nmodel = "activity.tflite"\n',
        "config.source.model: with one [source] it stands in [device]",
    ),
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
        open_source(config.sources[""])


@pytest.mark.parametrize(
    ("driver", "wrong"),
    [
        ("mpu6050", {"bus": "1"}),
        ("mpu6050", {"rate_hz": "100"}),
        ("mpu6050", {"rate_hz": True}),
        ("mpu6050", {"address": 104.5}),
        ("mpu6050", {"offsets": "abcdef"}),
        ("mpu6050", {"names": "abcdef"}),
        ("mpu6050", {"give_up_s": "3"}),
        ("replay", {"source": 5}),
        ("replay", {"source": "walk.csv", "repeat": 2.5}),
        ("replay", {"source": "walk.csv", "start_s": "x"}),
        ("serial", {"port": "/dev/ttyX", "channels": "abc"}),
        ("serial", {"channels": ["a"], "port": 5}),
        ("camera", {"size": 96}),
        ("camera", {"size": [96.0, 96]}),
        ("microphone", {"device": 1.5}),
    ],
)
def test_a_value_of_the_wrong_type_names_its_key(driver: str, wrong: dict[str, Any]) -> None:
    key, value = list(wrong.items())[-1]
    with pytest.raises(ConfigError) as error:
        open_source(SourceConfig(driver, wrong))
    assert str(error.value).startswith(f"config.source.{key} is {value!r}; it should be a")


def test_a_value_of_none_of_several_types_or_inside_a_table_is_named_too() -> None:
    with pytest.raises(
        ConfigError, match=r"device is 1\.5; it should be a whole number or a string"
    ):
        open_source(SourceConfig("microphone", {"device": 1.5}))
    with pytest.raises(ConfigError, match=r"source\.channels\.t is 5; it should be a string"):
        open_source(SourceConfig("mqtt", {**TOPIC, "channels": {"t": 5}}))


def test_a_sensor_may_be_waited_for_without_end() -> None:
    sensor = open_source(SourceConfig("system", {"give_up_s": math.inf, "rate_hz": 2}))
    assert isinstance(sensor, Sensor)
    assert sensor._patience.give_up_s == math.inf


@pytest.mark.parametrize("wrong", ["outbox = 5", "fleet = 5", "ack = 1", "compress = 1"])
def test_a_value_of_the_wrong_type_in_mqtt_names_its_key(wrong: str, tmp_path: Path) -> None:
    key, _, value = wrong.partition(" = ")
    text = GOOD.replace('fleet = "plant-a"\noutbox = "outbox.db"\n', wrong + "\n")
    with pytest.raises(ConfigError, match=rf"config\.mqtt\.{key} is {value}; it should be"):
        read_config(_write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_a_recording_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("time_s,x\n0,1\n1,2\n")
    source = f'driver = "replay"\nsource = "{tmp_path / "walk.csv"}"\n'
    config = read_config(
        _write(tmp_path, GOOD.replace('driver = "system"\nrate_hz = 2.0\n', source))
    )
    assert isinstance(open_source(config.sources[""]), Replay)


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_in_the_table_can_be_imported(driver: str) -> None:
    from importlib import import_module

    module, name = DRIVERS[driver]
    assert callable(getattr(import_module(module), name))


def test_ranges_and_the_duty_cycle_come_from_their_sections(tmp_path: Path) -> None:
    more = """
[limits]
x = [-160, 160]

[duty]
hot_c = 75
widest = 8
"""
    config = read_config(_write(tmp_path, GOOD.replace("[mqtt]", more + "\n[mqtt]")))
    assert config.limits == {"x": (-160.0, 160.0)}
    assert config.duty == DutyLimits(hot_c=75.0, widest=8)
    assert read_config(_write(tmp_path, GOOD)).duty is None


def test_which_windows_go_home_comes_from_its_section(tmp_path: Path) -> None:
    text = f"{GOOD}\n[samples]\nbelow_score = 0.6\none_in = 500\n"
    assert read_config(_write(tmp_path, text)).samples == Samples(below_score=0.6, one_in=500)
    assert read_config(_write(tmp_path, GOOD)).samples is None
    for line, said in (
        (
            "below_scor = 0.6",
            "below_scor is not a known key; did you mean 'below_score'",
        ),
        ("per_hour = 5", "config.samples: samples: set below_score"),
        ("one_in = 2.5", "config.samples.one_in is 2.5"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_config(_write(tmp_path, f"{GOOD}\n[samples]\n{line}\n"))
        assert said in str(caught.value)


SEVERAL = """
[device]
id = "pump-7"

[sources.imu]
driver = "mpu6050"
model = ["activity.tflite", {gate = "motion.tflite", then = "costly.tflite", when = "moving"}]

[sources.machine]
driver = "system"
rate_hz = 1.0
model = "machine.tflite"
"""


def test_each_of_several_sources_has_its_own_models(tmp_path: Path) -> None:
    config = read_config(_write(tmp_path, SEVERAL))
    cascade = CascadeConfig(tmp_path / "motion.tflite", tmp_path / "costly.tflite", ("moving",))
    assert config.models == {
        "imu": (tmp_path / "activity.tflite", cascade),
        "machine": (tmp_path / "machine.tflite",),
    }
    assert config.sources["machine"].options == {"rate_hz": 1.0}
    assert list(files(config.models)) == [
        tmp_path / name
        for name in ("activity.tflite", "motion.tflite", "costly.tflite", "machine.tflite")
    ]


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = (
        SEVERAL.replace("gate =", "gait =")
        .replace('model = "machine.tflite"', "")
        .replace('id = "pump-7"', 'id = 7\non_nann = "hold"')
    )
    text += "\n[duty]\nhott_c = 70\n[limits]\nx = [1]\n[mqtt]\nurl = 5\n"
    with pytest.raises(ConfigError) as error:
        read_config(_write(tmp_path, text))
    for part in (
        "config.device.id is 7",
        "config.device.on_nann is not a known key (did you mean 'on_nan'",
        "config.sources.imu.model[1].gate is missing; is it misspelt as 'gait'",
        "config.sources.machine.model is missing",
        "config.duty.hott_c is not a known key (did you mean 'hot_c'",
        "config.limits.x is [1.0]; it should be [low, high]",
        "config.mqtt.url is 5",
    ):
        assert part.partition(" (")[0] in str(error.value)
        assert part.rpartition("(")[2] in str(error.value)


DUTY_MISTAKES = {
    "thresholds the wrong way round": ("cool_c = 90", "config.duty: cool_c=90.0 should be below"),
    "a factor that is none": ("widest = 1.5", "config.duty.widest is 1.5"),
}


@pytest.mark.parametrize("mistake", DUTY_MISTAKES)
def test_a_mistake_in_the_duty_cycle_is_named(mistake: str, tmp_path: Path) -> None:
    line, message = DUTY_MISTAKES[mistake]
    with pytest.raises(ConfigError, match=message):
        read_config(_write(tmp_path, f"{GOOD}\n[duty]\n{line}\n"))


UPDATES = """
[updates]
root = "1.root.json"
folder = "/media/stick"
policy = "hours"
hours = [2, 5]
shadow_windows = 100
[updates.probation]
windows = 50
less_sure = 0.2
"""


def test_updates_come_from_their_section_with_paths_relative_to_the_file(tmp_path: Path) -> None:
    updates = read_config(_write(tmp_path, GOOD + UPDATES)).updates
    assert updates is not None
    assert updates.root == tmp_path / "1.root.json"
    assert updates.folder == Path("/media/stick")
    assert (updates.policy, updates.hours, updates.shadow_windows) == ("hours", (2, 5), 100)
    assert (updates.probation.windows, updates.probation.less_sure) == (50, 0.2)
    assert updates.probation.starts == 3
    assert read_config(_write(tmp_path, GOOD)).updates is None


def test_all_that_is_wrong_with_updates_is_said_at_once(tmp_path: Path) -> None:
    text = "\n[updates]\npolicyy = 'auto'\nhours = [2]\nslower = 'much'\n"
    text += "[updates.probation]\nwindow = 5\n"
    with pytest.raises(ConfigError) as caught:
        read_config(_write(tmp_path, GOOD + text))
    for said in (
        "config.updates.policyy is not a known key; did you mean 'policy'",
        "config.updates.hours is [2]; it should be two hours: [2, 5]",
        "config.updates.slower is 'much'; it should be a number",
        "config.updates.probation.window is not a known key; did you mean 'windows'",
        "config.updates.root is missing",
    ):
        assert said in str(caught.value)


def test_a_policy_that_is_none_is_named_with_the_nearest(tmp_path: Path) -> None:
    wrong = "\n[updates]\nroot = 'r.json'\nfolder = 'f'\npolicy = 'autoo'\n"
    with pytest.raises(ConfigError, match=r"config\.updates: .*did you mean 'auto'"):
        read_config(_write(tmp_path, GOOD + wrong))


def test_the_sections_that_the_example_shows_as_comments_are_right(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "device.toml"
    said = example.read_text(encoding="utf-8")
    shown = said.index("# [samples]")
    uncommented = re.sub(r"^# (?=\[|\w+ =)", "", said[shown:], flags=re.MULTILINE)
    config = read_config(_write(tmp_path, said[:shown] + uncommented))
    assert config.samples is not None
    assert config.updates is not None
    assert config.updates.hours == (2, 5)
