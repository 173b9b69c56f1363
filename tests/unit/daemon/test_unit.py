"""The unit that is written is one that systemd reads, with the least rights."""

import configparser
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.cli.main import main
from edgeml.daemon.unit import closed_part, unit_text


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_service_is_watched_confined_and_reloadable() -> None:
    unit = _parsed(unit_text("pump-7", "/opt/e/bin/edgeml", Path("/etc/edgeml.toml"), ("i2c",)))
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"] == "/opt/e/bin/edgeml run /etc/edgeml.toml"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["WatchdogSec"]) > 0
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["StateDirectory"] == "edgeml/pump-7"  # two devices on a machine do not share
    # Without netlink libusb finds no Edge TPU, and udev no camera.
    assert "AF_NETLINK" in service["RestrictAddressFamilies"].split()
    assert service["SupplementaryGroups"] == "i2c"
    assert service["ProtectKernelTunables"] == "yes"


@pytest.mark.parametrize(("driver", "sealed"), [("iio", "yes"), ("iio-buffered", "no")])
def test_a_sensor_that_is_set_up_by_files_of_sys_may_write_there(
    driver: str, sealed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "device.toml"
    config.write_text(
        f'[device]\nid = "d"\nmodel = "m.tflite"\n[source]\ndriver = "{driver}"\n'
        'device = "lsm6dsl"\nchannels = ["accel_x"]\n'
    )
    assert main(["install-service", str(config), "--print"]) == 0
    service = _parsed(capsys.readouterr().out)["Service"]
    assert service["ProtectKernelTunables"] == sealed
    assert service["SupplementaryGroups"] == "iio"


def test_paths_with_spaces_and_signs_are_quoted() -> None:
    text = unit_text("d", "/opt/my edge/edgeml", Path("/etc/100%/d.toml"), ())
    assert 'ExecStart="/opt/my edge/edgeml" run "/etc/100%%/d.toml"' in text
    assert "SupplementaryGroups" not in text


def test_secrets_are_handed_over_by_systemd() -> None:
    secrets = {"password_file": "/etc/edgeml/password"}
    text = unit_text("d", "/opt/e/bin/edgeml", Path("/etc/d.toml"), (), secrets)
    assert "\nLoadCredential=password_file:/etc/edgeml/password\n" in text


ODD = "/etc/o'brien's $HOME/../100% \\ \"new\".x"


def test_a_path_of_any_signs_stands_where_systemd_reads_it_whole() -> None:
    """A command line is split, unquoted and expanded; the source of a secret only expanded."""
    text = unit_text("d", "/opt/e/bin/edgeml", Path("/etc/o'brien.toml"), ())
    assert 'run "/etc/o\'brien.toml"\n' in text
    text = unit_text("d", "/opt/e/bin/edgeml", Path("/etc/d.toml"), (), {"key_file": ODD})
    assert '\nLoadCredential=key_file:/etc/100%% \\ "new".x\n' in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    unit = tmp_path / "edgeml-d.service"
    secrets = dict.fromkeys(("password_file", "key_file"), ODD)
    unit.write_text(unit_text("d", sys.executable, Path(ODD), ("i2c",), secrets, quiet=True))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert [line for line in said if "ignoring" in line or "fatal" in line] == []


def test_results_that_are_delivered_do_not_fill_the_journal_too() -> None:
    text = unit_text("d", "/opt/e/bin/edgeml", Path("/etc/d.toml"), (), quiet=True)
    assert "\nExecStart=/opt/e/bin/edgeml run --quiet /etc/d.toml\n" in text


def test_what_the_services_user_may_not_read_is_said_beforehand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home is often for its owner alone, and so is what was installed in it."""
    config = tmp_path / "device.toml"
    config.write_text('[device]\nid = "d"\nmodel = "m"\n[source]\ndriver = "mpu6050"\n')
    tmp_path.chmod(0o700)
    assert main(["install-service", str(config), "--print"]) == 0
    assert f"{closed_part(config)}: the service's own user may not read it" in caplog.text
    monkeypatch.chdir(tmp_path)
    assert closed_part(Path("device.toml")) == Path()
    tmp_path.chmod(0o755)
    assert closed_part(Path("device.toml")) is None
    config.chmod(0o640)
    assert closed_part(Path("device.toml")) == Path("device.toml")
    assert closed_part(Path("what/is/not/there")) is None


def test_the_verb_checks_the_file_and_writes_the_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "device.toml"
    config.write_text(
        '[device]\nid = "pump-7"\nmodel = "m.tflite"\n[source]\ndriver = "serial"\n'
        'port = "/dev/ttyUSB0"\nchannels = ["x"]\n'
    )
    assert main(["install-service", str(config), "--folder", str(tmp_path)]) == 0
    assert "systemctl enable --now edgeml-pump-7" in capsys.readouterr().out
    unit = _parsed((tmp_path / "edgeml-pump-7.service").read_text())
    assert unit["Service"]["SupplementaryGroups"] == "dialout"
    assert "--quiet" not in unit["Service"]["ExecStart"]
    with config.open("a") as file:
        file.write('[mqtt]\nurl = "mqtt://broker.local"\n')
    assert main(["install-service", str(config), "--print"]) == 0
    shown = capsys.readouterr().out
    assert "run --quiet" in shown
    assert main(["install-service", str(config), "--print", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == shown
    assert main(["install-service", str(config), "--folder", str(tmp_path / "none")]) == 18
    assert "none is no folder" in capsys.readouterr().err
    config.write_text(config.read_text().replace("port =", "prot ="))
    assert main(["install-service", str(config), "--print"]) == 18
    assert "did you mean 'port'" in capsys.readouterr().err
