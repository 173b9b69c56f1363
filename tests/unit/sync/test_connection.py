"""Settings that cannot work are refused where they are written, and so are secrets that leak."""

from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import ConfigError
from edgeml.sync.connection import Connection
from edgeml.sync.settings import Mqtt, state_directory

BAD_CONNECTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "credentials in the URL": ({"url": "mqtt://me:secret@host"}, "credentials"),
    "a typo in the scheme": ({"url": "mqts://host"}, "did you mean 'mqtts'"),
    "no scheme": ({"url": "broker.local"}, "should begin with"),
    "no host": ({"url": "mqtt://"}, "no host"),
    "a port beyond all": ({"url": "mqtt://host:99999"}, "cannot be read"),
    "port 0": ({"url": "mqtt://host:0"}, "port 0"),
    "a path on plain MQTT": ({"url": "mqtt://host/x"}, "path"),
    "a password without a user": ({"url": "mqtt://h", "password_env": "X"}, "needs a username"),
    "two passwords": (
        {"url": "mqtt://h", "username": "u", "password_env": "X", "password_file": Path("x")},
        "not by both",
    ),
    "a certificate without its key": (
        {"url": "mqtts://h", "cert_file": Path("x")},
        "come together",
    ),
    "a certificate on an open line": ({"url": "mqtt://h", "ca_file": Path("x")}, "not encrypted"),
    "an unknown protocol": ({"url": "mqtt://h", "protocol": "4"}, "protocol"),
    "a short keepalive": ({"url": "mqtt://h", "keepalive_s": 1}, "keepalive_s"),
    "pauses upside down": (
        {"url": "mqtt://h", "reconnect_min_s": 9, "reconnect_max_s": 1},
        "reconnect",
    ),
}


@pytest.mark.parametrize(("given", "message"), BAD_CONNECTIONS.values(), ids=BAD_CONNECTIONS)
def test_a_connection_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Connection(**given)
    with pytest.raises(ConfigError, match=message):
        Mqtt(**given)


def test_ports_follow_the_scheme() -> None:
    assert [Connection(f"{s}://h").port for s in ("mqtt", "mqtts", "ws", "wss")] == [
        1883,
        8883,
        80,
        443,
    ]
    assert Connection("mqtts://h:443").port == 443
    assert Connection("wss://h/m").websocket_path == "/m"
    assert Connection("mqtt://h").websocket_path is None


def test_a_password_is_read_from_its_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\nnot this\n")
    secret.chmod(0o600)
    assert Connection("mqtt://h", username="me", password_file=secret).password() == "s3cret"
    by_variable = Connection("mqtt://h", username="me", password_env="BROKER_PASSWORD")  # noqa: S106
    monkeypatch.setenv("BROKER_PASSWORD", "s3cret too")
    assert by_variable.password() == "s3cret too"
    monkeypatch.delenv("BROKER_PASSWORD")
    with pytest.raises(ConfigError, match="BROKER_PASSWORD, which is not set"):
        by_variable.password()


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod o-rwx"):
        Connection("mqtt://h", username="me", password_file=secret).password()


def test_tls_checks_the_host_and_an_open_line_has_none(tmp_path: Path) -> None:
    assert Connection("mqtt://h").tls_context() is None
    context = Connection("mqtts://h").tls_context()
    assert context is not None
    assert context.check_hostname
    with pytest.raises(ConfigError, match="ca_file"):
        Connection("mqtts://h", ca_file=tmp_path / "none.pem").tls_context()


BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "fleet": {"fleet": "a/b"},
    "ack": {"ack": "flet"},
    "commit_interval_ms": {"commit_interval_ms": 0},
    "batch_bytes": {"batch_bytes": 10},
    "inflight_batches": {"inflight_batches": 0},
    "results_cap_bytes": {"results_cap_bytes": "1 GB"},
    "memory_rows": {"memory_rows": True},
    "max_age_s": {"max_age_s": -1},
}


@pytest.mark.parametrize(("name", "fields"), BAD_SETTINGS.items(), ids=BAD_SETTINGS)
def test_a_setting_out_of_range_is_refused_by_name(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=name):
        Mqtt("mqtt://h", **fields)


def test_the_outbox_is_kept_where_the_machine_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGEML_STATE_DIR", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_directory() == tmp_path / "xdg" / "edgeml"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "systemd"))
    assert state_directory() == tmp_path / "systemd"
    monkeypatch.setenv("EDGEML_STATE_DIR", str(tmp_path / "own"))
    assert (
        Mqtt("mqtt://h", "plant").outbox_path("pump") == tmp_path / "own" / "outbox-plant-pump.db"
    )
    assert Mqtt("mqtt://h", outbox=tmp_path / "x.db").outbox_path("pump") == tmp_path / "x.db"


def test_files_may_be_given_as_text(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    assert Mqtt("mqtt://h", username="me", password_file=str(secret)).password() == "s3cret"
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod o-rwx"):
        Mqtt("mqtt://h", username="me", password_file=str(secret)).password()


def test_a_name_for_alpn_without_tls_or_without_letters_is_refused() -> None:
    with pytest.raises(ConfigError, match="alpn do nothing"):
        Mqtt("mqtt://broker", alpn="mqtt")
    with pytest.raises(ConfigError, match="1 to 255 bytes"):
        Mqtt("mqtts://broker", alpn="")
