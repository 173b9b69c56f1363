"""The doctor on the machine that the tests run on: real facts, a real broker, a dead one."""

import json
from pathlib import Path

import pytest

from edgeml.cli.main import main
from edgeml.fleet.localbroker import LocalBroker, free_port

ACTIVITY = Path(__file__).resolve().parents[2] / "models" / "activity" / "activity.tflite"


def _examine(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    status = main(["doctor", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] == (status == 0)
    return status, {finding["check"]: finding["level"] for finding in report["findings"]}


def test_this_machine_is_fit_and_a_running_broker_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalBroker() as broker:
        status, levels = _examine(capsys, "--state", str(tmp_path), "--broker", broker.url)
    assert status == 0
    assert levels["broker"] == levels["interpreter"] == levels["numpy"] == levels["disk"] == "ok"


def test_a_broker_that_is_not_there_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    status, levels = _examine(capsys, "--state", str(tmp_path), "--broker", url)
    assert status == 1
    assert levels["broker"] == "broken"


def test_a_url_that_makes_no_sense_is_a_finding_not_a_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, levels = _examine(capsys, "--state", str(tmp_path), "--broker", "http://somewhere")
    assert (status, levels["broker"]) == (1, "broken")


def test_a_state_folder_that_can_be_made_is_good_and_one_that_cannot_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, levels = _examine(capsys, "--state", str(tmp_path / "state" / "edgeml"))
    assert (status, levels["disk"]) == (0, "ok")
    (tmp_path / "file").write_text("in the way")
    status, levels = _examine(capsys, "--state", str(tmp_path / "file" / "state"))
    assert (status, levels["disk"]) == (1, "broken")


def test_a_devices_file_has_its_models_and_its_broker_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "device.toml"
    text = '[device]\nid = "p"\nmodel = "{}"\n[source]\ndriver = "system"\n[mqtt]\nurl = "{}"\n'
    with LocalBroker() as broker:
        config.write_text(text.format(ACTIVITY, broker.url))
        status, levels = _examine(capsys, "--config", str(config))
    assert (status, levels["models"], levels["broker"]) == (0, "ok", "ok")
    config.write_text(text.format("none.tflite", f"mqtt://127.0.0.1:{free_port()}"))
    status, levels = _examine(capsys, "--config", str(config))
    assert (status, levels["models"], levels["broker"]) == (1, "broken", "broken")


def test_as_text_each_finding_has_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--broker", f"mqtt://127.0.0.1:{free_port()}"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN   broker" in text
    assert "cure: " in text
