"""`edgeml update` beside a running device, and without one; and the daemon that takes updates."""

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeml import Device
from edgeml.cli import update
from edgeml.cli.main import main
from edgeml.daemon.config import read_config
from edgeml.daemon.service import Service
from edgeml.doctor.updates import look
from edgeml.errors import UpdateError
from edgeml.ota.mailbox import Mailbox, Request
from edgeml.ota.transport import Folder
from tests.waiting import until

from .publisher import ACTIVITY, Publisher
from .test_device_updates import DEADLINE_S, Story, windows

CONFIG = """
[device]
id = "pump-7"
model = "{model}"
[source]
driver = "replay"
source = "{recording}"
repeat = 1000000
[updates]
root = "root.json"
folder = "out"
state = "updates"
policy = "{policy}"
check_interval_s = 0.3
slower = 1000.0
[updates.probation]
windows = 100
slower = 1000.0
less_sure = 1.0
"""
RECORDING = Path(__file__).resolve().parents[2] / "edgeml" / "demo" / "data" / "recordings.npz"


def config(tmp_path: Path, policy: str = "ask") -> Path:
    path = tmp_path / "device.toml"
    path.write_text(CONFIG.format(model=ACTIVITY, recording=RECORDING, policy=policy))
    return path


def said(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["update", *command, "--json"])
    out = capsys.readouterr().out
    return status, json.loads(out) if out else {}


def table(capsys: pytest.CaptureFixture[str], path: str) -> dict[str, str]:
    """The first model's row of `edgeml update status`, by the names of its columns."""
    capsys.readouterr()
    assert main(["update", "status", path]) == 0
    header, rule, row, *_ = [*capsys.readouterr().out.splitlines(), ""]
    starts = [i for i in range(len(rule)) if rule[i] == "─" and (i == 0 or rule[i - 1] == " ")]
    parts = [slice(a, b) for a, b in zip(starts, [*starts[1:], None], strict=True)]
    return {header[part].strip(): row[part].strip() for part in parts}


def test_a_person_sees_what_serves_what_it_goes_back_to_and_what_is_refused(
    tmp_path: Path, publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config(tmp_path))
    assert main(["update", "status", path]) == 0
    assert "this device has not run with [updates] yet" in capsys.readouterr().out
    assert main(["update", "apply", path]) == 0
    seen = table(capsys, path)
    assert (seen["serves"], seen["state"], seen["back to"]) == (
        "activity-2",
        "probation",
        "factory",
    )
    assert main(["update", "rollback", path]) == 0
    assert main(["update", "pin", path]) == 0
    seen = table(capsys, path)
    assert (seen["serves"], seen["state"], seen["back to"]) == ("factory", "idle", "–")
    assert (seen["pinned"], seen["refused"]) == ("this", "activity-2")
    assert seen["why"] == "by hand: somebody asked for it"


def test_without_a_device_the_command_does_it_and_the_next_start_serves_the_model(
    tmp_path: Path, publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config(tmp_path))
    status, answer = said(capsys, "check", path)
    assert (status, answer["offered"], answer["may"]) == (0, "activity-2", "install")
    status, answer = said(capsys, "apply", path)
    assert (status, answer["update"]["state"]) == (0, "probation")
    settings = read_config(path)
    with Device("pump-7", model=ACTIVITY, updates=settings.updates) as device:
        assert device.model.ref.version == 2
    status, answer = said(capsys, "rollback", path)
    assert answer["update"]["bad"] == ["activity-2"]
    status, answer = said(capsys, "status", path)
    assert answer["models"]["activity"]["reason"] == "by hand: somebody asked for it"
    assert said(capsys, "apply", path)[0] == 26
    assert said(capsys, "rollback", path)[0] == 26


def test_a_services_updates_are_found_in_its_own_folder_and_stay_its_own(
    tmp_path: Path,
    publisher: Publisher,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGEML_STATE_DIR", raising=False)
    monkeypatch.setattr(update, "STATES", tmp_path / "lib")
    service = tmp_path / "lib" / "pump-7"
    service.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(service, 61234, 61234)
    path = config(tmp_path)
    path.write_text(path.read_text().replace('state = "updates"\n', ""))
    assert said(capsys, "apply", str(path))[0] == 0
    owners = {one.lstat().st_uid for one in service.rglob("*")}
    assert (service / "updates-pump-7" / "activity").is_dir()
    assert owners == {service.stat().st_uid}
    _, answer = said(capsys, "status", str(path))
    assert answer["models"]["activity"]["release"] == "activity-2"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["update", "status", str(path)]) == 26
    assert "ask with sudo" in capsys.readouterr().err


def test_an_answer_that_cannot_be_written_does_not_end_the_updates(
    tmp_path: Path, publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config(tmp_path))
    in_the_way = tmp_path / "updates" / "answer.json"
    with Device("pump-7", model=ACTIVITY, updates=read_config(path).updates):
        in_the_way.mkdir()
        assert said(capsys, "check", path, "--timeout", "4")[0] == 26
        in_the_way.rmdir()
        status, answer = said(capsys, "check", path)
    assert (status, answer["offered"]) == (0, "activity-2")


def test_a_running_device_is_asked_and_answers(
    tmp_path: Path, publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config(tmp_path))
    story, done = Story(), threading.Event()
    with Device("pump-7", model=ACTIVITY, updates=read_config(path).updates) as device:
        device.on_update(story)

        def infer() -> None:
            for _ in device.run(windows(done.is_set)):
                pass

        loop = threading.Thread(target=infer)
        loop.start()
        try:
            assert said(capsys, "pin", path)[1]["update"]["pinned"] == ""
            assert said(capsys, "apply", path)[0] == 26
            assert said(capsys, "unpin", path)[1]["update"]["pinned"] is None
            status, answer = said(capsys, "apply", path, "activity-2")
            assert (status, answer["update"]["release"]) == (0, "activity-2")
            assert said(capsys, "apply", path, "activity-9")[0] == 26
            status, answer = said(capsys, "rollback", path)
            assert answer["update"]["bad"] == ["activity-2"]
            # The loop takes the model before over with its next window.
            give_up_s = time.monotonic() + DEADLINE_S
            while device.model.ref.version != 1:
                assert time.monotonic() < give_up_s
                time.sleep(0.01)
        finally:
            done.set()
            loop.join()
    assert story.has("activated")


class Endless(Folder):
    """Gives the first of the files that it is asked for again and again."""

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        found = list(super().fetch(names, limit_bytes))
        yield from found[:1] if len(found) == 1 else itertools.repeat(found[0])


def test_a_device_answers_in_the_midst_of_a_download_that_does_not_end(
    tmp_path: Path,
    publisher: Publisher,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(config(tmp_path, "auto"))
    story = Story()
    monkeypatch.setattr("edgeml.updating.transports_of", lambda *_: [Endless(publisher.out)])
    with Device("pump-7", model=ACTIVITY, updates=read_config(path).updates) as device:
        device.on_update(story)
        until(lambda: device.update_status()["state"] == "fetching")
        status, answer = said(capsys, "pin", path, "--timeout", "120")
        assert (status, answer["update"]["pinned"]) == (0, "")
        until(lambda: story.has("withdrawn"))


def test_two_who_ask_one_device_take_turns_and_the_second_does_not_wait_for_ever(
    tmp_path: Path,
) -> None:
    box = Mailbox(tmp_path)
    asked, refused = threading.Event(), threading.Event()
    answers: list[Mapping[str, Any]] = []

    def device_answers(_: float) -> None:
        asked.set()
        assert refused.wait(DEADLINE_S)
        request = box.take()
        if request is not None:
            box.answer(request, {"offered": "activity-2"})

    first = threading.Thread(
        target=lambda: answers.append(box.ask(Request("check"), DEADLINE_S, device_answers))
    )
    first.start()
    assert asked.wait(DEADLINE_S)
    with pytest.raises(UpdateError, match="another command waited"):
        box.ask(Request("rollback"), 0.0)
    refused.set()
    first.join(DEADLINE_S)
    assert answers == [{"offered": "activity-2"}]


def test_the_daemon_takes_an_update_and_keeps_it_over_a_reload(
    tmp_path: Path, publisher: Publisher
) -> None:
    seen: list[int] = []  # the versions of the results, each run of the same once
    new = 0
    path = config(tmp_path, "auto")

    def on_result(result: Any) -> None:
        nonlocal new
        if seen[-1:] != [result.model.version]:
            seen.append(result.model.version)
        new += result.model.version == 2
        if new == 200:
            path.write_text(path.read_text().replace("windows = 100", "windows = 120"))
            service.reload()
        elif new > 200 and service.reloads:
            service.stop()

    service = Counted(path, on_result)
    service.run()
    assert seen in ([2], [1, 2])
    assert service.reloads == 1


class Counted(Service):
    """A service that knows how often it began anew."""

    reloads = -1

    def _serve(self, prepared: Any) -> None:
        self.reloads += 1
        super()._serve(prepared)


def test_a_device_without_updates_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text().partition("[updates]")[0])
    assert main(["update", "status", str(path)]) == 18
    assert "has no section [updates]" in capsys.readouterr().err


def test_the_doctor_asks_what_is_offered_as_the_device_would(
    tmp_path: Path, publisher: Publisher
) -> None:
    path = config(tmp_path)
    assert look(read_config(path)) == ("from folder: activity-2 is offered", "")
    (publisher.out / "tuf" / "timestamp").unlink()
    _, error = look(read_config(path))
    assert error.startswith("missing: ")
    assert not (tmp_path / "updates").exists()
