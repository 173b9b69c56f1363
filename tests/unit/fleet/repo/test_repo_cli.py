"""What a publisher types, reads and gets told."""

import argparse
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeml.cli import fleet
from edgeml.cli import repo as repo_verb
from edgeml.cli.main import main
from edgeml.errors import ConfigError, TrustError, UpdateError
from edgeml.fleet.commands import hours, seconds

MakeBundle = Callable[..., Path]


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs one command on one repository; its JSON, or its exit status where it failed."""

    def run(command: str, *arguments: str) -> Any:
        status = main(["repo", command, str(tmp_path / "r"), *map(str, arguments), "--json"])
        captured = capsys.readouterr()
        if status:
            assert captured.err.count("\n") == 1
            return status, captured.err
        return json.loads(captured.out)

    return run


def test_the_whole_story_in_json(
    repo: Callable[..., Any], bundle: MakeBundle, tmp_path: Path
) -> None:
    founded = repo("init", "--role", "root=2/3", "--expires", "timestamp=2d")
    assert Path(founded["root"]).exists()
    (first,) = repo("release", str(bundle(1)))["releases"]
    (second,) = repo("release", str(bundle(2, suffix="!")))["releases"]
    assert set(first["download_bytes"]) == {""}
    assert second["download_bytes"]["activity-1"] < second["download_bytes"][""]
    assert repo("rollout", "activity-2", "--percent", "12.5", "--spread", "1h",
                "--hours", "22-04", "--expires", "2d")["percent"] == 12.5  # fmt: skip
    status = repo("status")
    assert status["roles"]["root"]["threshold"] == 2
    assert [r["release"] for r in status["releases"]] == ["activity-1", "activity-2"]
    (rule,) = status["rules"]
    assert (rule["spread_s"], rule["hours"], rule["expired"]) == (3600, [22, 4], False)
    assert repo("publish", "--http", str(tmp_path / "web"))["known"] == 0
    assert repo("publish", "--file", str(tmp_path / "web"))["files"] == 0
    assert repo("halt", "activity-2")["halted"] == [{"release": "activity-2", "group": "default"}]
    assert repo("revoke", "activity-2") == {"revoked": "activity-2"}
    assert repo("rotate", "timestamp")["former_keys"]
    assert repo("refresh", "--all") == {"rules": []}
    assert repo("status")["revoked"] == ["activity-2"]
    assert repo("gc", "--keep", "1", "--http", str(tmp_path / "web"))["cleared"] > 0


def test_the_whole_story_for_a_person(
    tmp_path: Path, bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: str, *arguments: str) -> str:
        assert main(["repo", command, str(tmp_path / "r"), *arguments]) == 0
        return capsys.readouterr().out

    assert "offline" in run("init")
    assert "nothing" in run("release", str(bundle(1)))
    assert "now publish it" in run("rollout", "activity-1", "--percent", "10")
    assert "activity-1" in run("status")
    assert "files" in run("publish", "--file", str(tmp_path / "stick"))
    assert "halted" in run("halt")
    assert "destroy it" in run("rotate", "rollout")
    assert "renewed" in run("refresh")
    assert "revoked" in run("revoke", "activity-1")
    assert "revoked: activity-1" in run("status")
    assert "deleted" in run("gc")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("rollout", "activity-1", "--percent", "101"), ConfigError, "0 to 100"),
        (("rollout", "activity-1", "--percent", "1", "--hours", "2"), ConfigError, "02-05"),
        (("rollout", "activity-1", "--percent", "1", "--expires", "1"), ConfigError, "24h"),
        (("rollout", "activity-1", "--percent", "1"), UpdateError, "no such release"),
        (("rollout", "activity-1", "--percent", "1", "--group", "a/b"), UpdateError, "no such"),
        (("publish",), ConfigError, "where to"),
        (("publish", "--http", "x", "--stay"), ConfigError, "--broker"),
        (("publish", "--file", "/no/such/place"), UpdateError, "mounted"),
        (("revoke", "nonsense"), UpdateError, "NAME-VERSION"),
        (("halt",), UpdateError, "not rolled out"),
        (("rotate", "root", "--keep", "3/2"), ConfigError, "3 signatures, but 2 keys"),
        (("rotate", "root", "--keep", "x"), ConfigError, "THRESHOLD/KEYS"),
        (("init",), UpdateError, "already"),
    ],
)
def test_a_mistake_is_one_line_and_the_errors_own_status(
    repo: Callable[..., Any],
    arguments: tuple[str, ...],
    error: type[UpdateError] | type[ConfigError],
    message: str,
) -> None:
    repo("init")
    status, text = repo(*arguments)
    assert (status, message in text) == (error.exit_code, True), text


@pytest.mark.parametrize(
    "option", [("--role", "root"), ("--role", "boss=1/1"), ("--expires", "root=soon"),
               ("--signer", "root=awskms:x"), ("--signer", "root=awskms:x,none.pem")],
)  # fmt: skip
def test_an_option_of_init_that_cannot_be_read_makes_nothing(
    repo: Callable[..., Any], option: tuple[str, str], tmp_path: Path
) -> None:
    status, _ = repo("init", *option)
    assert status == ConfigError.exit_code
    assert not (tmp_path / "r").exists()


def test_a_key_that_is_kept_apart_is_asked_for_and_found(
    repo: Callable[..., Any], bundle: MakeBundle, tmp_path: Path
) -> None:
    repo("init")
    stick = tmp_path / "stick"
    stick.mkdir()
    for path in (tmp_path / "r" / "keys").glob("targets-*"):
        path.rename(stick / path.name)
    status, text = repo("release", str(bundle(1)))
    assert status == TrustError.exit_code
    assert "--keys FOLDER" in text
    assert repo("release", str(bundle(1)), "--keys", str(stick))["releases"]


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800)]
)
def test_times_have_units(text: str, value: int) -> None:
    assert seconds(text) == value


def test_every_command_on_the_page_about_updates_can_be_read() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "updates.md").read_text()
    commands = re.findall(
        r"edgeml (repo|fleet rollout) ([^`&\n]+)", page.replace(" ROLE`", " root`")
    )
    assert len(commands) > 15
    for verb, rest in commands:
        module = fleet if verb.startswith("fleet") else repo_verb
        parser = argparse.ArgumentParser(exit_on_error=False)
        module.configure(parser)
        parser.parse_args([*verb.split()[1:], *shlex.split(rest)])


def test_hours_are_two() -> None:
    assert hours("02-05") == (2, 5)
    assert hours("22-4") == (22, 4)
