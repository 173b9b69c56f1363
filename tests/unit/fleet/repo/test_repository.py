"""Whatever a publisher does, a TUF client that knows only the first root can follow."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import ExpiredMetadataError

from edgeml.clock import ManualClock
from edgeml.errors import (
    BundleError,
    BusyError,
    ConfigError,
    EdgeMLError,
    TrustError,
    UpdateError,
)
from edgeml.fleet.repo import contents, folder, ledger
from edgeml.fleet.repo import repository as module
from edgeml.fleet.repo.publish import Outgoing, to_folder
from edgeml.fleet.repo.repository import Repository, RoleKeys

from .tufclient import Client, files_of

MakeBundle = Callable[..., Path]


def test_a_client_downloads_what_was_released(
    repository: Repository, client: Client, bundle: MakeBundle
) -> None:
    path = bundle(2)
    (released,) = repository.release([path])
    assert released.index.release == "activity-2"
    assert client.bundle("activity-2") == path.read_bytes()
    info = client.refreshed().get_targetinfo("releases/activity-2")
    assert info is not None
    assert info.custom == {
        "name": "activity",
        "version": 2,
        "sha256": released.index.bundle_digest,
        "bytes": path.stat().st_size,
    }


def test_a_release_says_what_each_earlier_version_downloads(
    repository: Repository, bundle: MakeBundle
) -> None:
    repository.release([bundle(1), bundle(2, suffix="!"), bundle(7, "other")])
    (third,) = repository.release([bundle(3, suffix="?")])
    costs = third.download_bytes
    assert set(costs) == {None, "activity-1", "activity-2"}
    assert costs["activity-1"] < costs[None]


def test_a_client_reads_the_rule_that_was_rolled_out(
    repository: Repository, client: Client, bundle: MakeBundle
) -> None:
    repository.release([bundle(2)])
    rule = repository.rollout("activity-2", 1000, group="east", spread_s=60, hours=(22, 4))
    assert client.rule("east") == rule
    assert client.rule("west") is None
    info = client.refreshed().get_targetinfo("rollouts/east/activity")
    assert info is not None
    assert info.custom["upto"] == 1000
    assert repository.rollout("activity-2", 5000, group="east").upto == 5000


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_that_is_not_above_the_last_is_refused(
    repository: Repository, bundle: MakeBundle, version: int
) -> None:
    repository.release([bundle(2)])
    before = files_of(repository)
    with pytest.raises(UpdateError, match="give it version 3 or more"):
        repository.release([bundle(version)])
    assert files_of(repository) == before


def test_a_version_that_was_revoked_does_not_come_again(
    repository: Repository, client: Client, bundle: MakeBundle
) -> None:
    repository.release([bundle(2)])
    repository.rollout("activity-2", 10_000)
    repository.revoke("activity-2")
    assert client.content("releases/activity-2") is None
    assert client.rule() is None
    info = client.refreshed().get_targetinfo("revoked.json")
    assert info is not None
    assert info.custom == {"releases": ["activity-2"]}
    with pytest.raises(UpdateError, match="version 3"):
        repository.release([bundle(2)])
    with pytest.raises(UpdateError, match="no such release"):
        repository.rollout("activity-2", 1)
    with pytest.raises(UpdateError, match="no such release"):
        repository.revoke("activity-2")


def test_what_is_no_bundle_is_not_released(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"nonsense")
    with pytest.raises(BundleError):
        repository.release([tmp_path / "x.tflite"])


def test_no_rule_goes_back_to_an_older_version(repository: Repository, bundle: MakeBundle) -> None:
    repository.release([bundle(1), bundle(2)])
    repository.rollout("activity-2", 100)
    with pytest.raises(UpdateError, match="repo revoke activity-2"):
        repository.rollout("activity-1", 100)


def test_a_halt_is_a_rule_for_nobody(
    repository: Repository, client: Client, bundle: MakeBundle
) -> None:
    repository.release([bundle(2), bundle(1, "other")])
    repository.rollout("activity-2", 5000)
    repository.rollout("activity-2", 5000, group="east")
    repository.rollout("other-1", 5000)
    assert {rule.group for rule in repository.halt("activity")} == {"default", "east"}
    rule = client.rule()
    assert rule is not None
    assert rule.upto == 0
    other = client.rule(name="other")
    assert other is not None
    assert other.upto == 5000
    with pytest.raises(UpdateError, match="not rolled out"):
        repository.halt("activity-3")


def test_a_refresh_renews_the_rules_that_hold_and_no_others(
    repository: Repository, bundle: MakeBundle, clock: ManualClock
) -> None:
    repository.release([bundle(1), bundle(1, "ended"), bundle(1, "once")])
    repository.rollout("activity-1", 100, expires_s=7200)
    repository.rollout("ended-1", 100, expires_s=60)
    repository.rollout("once-1", 100, expires_s=7200, renew=False)
    clock.advance(3600)
    renewed = repository.refresh()
    assert [rule.release for rule in renewed] == ["activity-1"]
    with repository.open() as now:
        rules = contents.rules(now)
    assert rules["default", "activity"].expires_s == renewed[0].expires_s
    assert rules["default", "activity"].issued_s < renewed[0].expires_s - 7200
    assert rules["default", "once"].expires_s < renewed[0].expires_s


def test_what_nobody_renews_expires(
    repository: Repository, client: Client, clock: ManualClock, tmp_path: Path
) -> None:
    client.refreshed()
    clock.step_wall(-10 * 86_400)
    repository.refresh()
    with pytest.raises(ExpiredMetadataError):
        client.refreshed()
    clock.step_wall(10 * 86_400)
    with repository.open() as now, pytest.raises(TrustError, match=r"edgeml repo refresh$"):
        to_folder(Outgoing(now, clock.now_s()), tmp_path / "stick")
    assert not (tmp_path / "stick").exists()
    repository.refresh()
    client.refreshed()


def test_what_git_holds_is_enough_without_the_private_keys(
    repository: Repository, bundle: MakeBundle, tmp_path: Path
) -> None:
    repository.release([bundle(1)])
    clone = tmp_path / "clone"
    shutil.copytree(
        repository.folder.root, clone, ignore=shutil.ignore_patterns("keys", "published", ".lock")
    )
    assert Client(clone, tmp_path / "client").bundle("activity-1")
    with Repository(clone).open() as now:
        assert to_folder(Outgoing(now, 0.0), tmp_path / "web").files > 3


def test_two_commands_do_not_work_on_it_at_once(repository: Repository) -> None:
    with repository.open(), pytest.raises(BusyError, match="another edgeml command"):
        repository.refresh()
    repository.refresh()


def test_what_is_no_repository_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="edgeml repo init"):
        Repository(tmp_path).refresh()


def test_a_repository_is_not_founded_twice(repository: Repository) -> None:
    with pytest.raises(UpdateError, match="already"):
        repository.create()


@pytest.mark.parametrize("damage", [b"", b"{}", b"nonsense", None])
@pytest.mark.parametrize("name", ["metadata/timestamp.json", "metadata/1.root.json", "repo.json"])
def test_a_damaged_repository_is_an_error_that_names_the_file(
    repository: Repository, name: str, damage: bytes | None
) -> None:
    path = repository.folder.root / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(EdgeMLError, match=f"{Path(name).name}|no repository"):
        repository.refresh()


def test_a_command_that_is_killed_anywhere_changes_nothing_or_all(
    repository: Repository, bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write in turn is the last one; a client reads on, and the command can be repeated."""
    repository.release([bundle(1)])
    path = bundle(2, suffix="!")
    before = tmp_path / "before"
    shutil.copytree(repository.folder.root, before)
    left = [0]
    write = folder.write_file

    def dying(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*args, **kwargs)

    for where in (module, ledger):
        monkeypatch.setattr(where, "write_file", dying)
    outcomes = set()
    for survived in range(99):
        there = tmp_path / f"at{survived}"
        shutil.copytree(before, there)
        left[0] = survived
        died = False
        try:
            Repository(there).release([path])
        except KeyboardInterrupt:
            died = True
        client = Client(there, tmp_path / f"client{survived}")
        assert client.bundle("activity-1")
        arrived = client.content("releases/activity-2") is not None
        outcomes.add(arrived)
        if not died:
            break
        assert not arrived
        left[0] = 1000
        Repository(there).release([path])
        assert client.bundle("activity-2") == path.read_bytes()
    assert outcomes == {False, True}
    assert survived > 4


@pytest.mark.parametrize(
    ("keys", "lifetimes", "message"),
    [
        ({"root": RoleKeys(3, 2)}, {}, "3 signatures, but 2 keys"),
        ({"root": RoleKeys(0, 2)}, {}, "0 signatures"),
        ({}, {"timestamp": 1}, "lifetime"),
    ],
)
def test_a_plan_that_cannot_work_makes_nothing(
    tmp_path: Path, keys: dict[str, RoleKeys], lifetimes: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Repository(tmp_path / "repo").create(keys, lifetimes)
    assert not (tmp_path / "repo").exists()
