"""Whatever a publisher does, a TUF client that knows only the first root can follow."""

import shutil
import stat
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
from edgeml.fleet.repo.signers import make_key

from .tufclient import Client

MakeBundle = Callable[..., Path]


@pytest.fixture
def client(repository: Repository, tmp_path: Path) -> Client:
    return Client(repository.folder.root, tmp_path / "client")


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
    before = _files(repository)
    with pytest.raises(UpdateError, match="give it version 3 or more"):
        repository.release([bundle(version)])
    assert _files(repository) == before


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


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp", "rollout"])
def test_devices_follow_a_role_to_its_new_keys(
    repository: Repository, client: Client, bundle: MakeBundle, role: str, clock: ManualClock
) -> None:
    repository.release([bundle(1)])
    client.refreshed()
    with repository.open() as before:
        former = {key.keyid for key in before.keys_of(role)[0]}
    gone = repository.rotate(role)
    assert [path.name.startswith(role) for path in gone] == [True]
    for path in gone:
        path.unlink()
    with repository.open() as after:
        assert not former & {key.keyid for key in after.keys_of(role)[0]}
        after.verify(clock.now_s())
    repository.release([bundle(2)])
    rule = repository.rollout("activity-2", 10_000)
    repository.refresh(everything=True)
    repository.rotate("root")
    found = client.rule()
    assert found is not None
    assert found.release == rule.release
    assert len(client.bundle("activity-2")) > 0


def test_two_of_three_keys_sign_and_one_does_not(tmp_path: Path, bundle: MakeBundle) -> None:
    made = Repository(tmp_path / "repo")
    made.create({"targets": RoleKeys(threshold=2, count=3)})
    stick = tmp_path / "stick"
    stick.mkdir()
    held = sorted(made.folder.keys.glob("targets-*"))
    for path in held[:2]:
        shutil.move(path, stick)
    before = _files(made)
    with pytest.raises(TrustError, match=r"1 of 2 signatures; not here: file2:keys/targets-"):
        made.release([bundle(1)])
    assert {n: d for n, d in _files(made).items() if n.startswith("metadata")} == {
        n: d for n, d in before.items() if n.startswith("metadata")
    }
    Repository(tmp_path / "repo", keys=stick).release([bundle(1)])
    held[2].unlink()
    Repository(tmp_path / "repo", keys=stick).release([bundle(2)])
    assert Client(tmp_path / "repo", tmp_path / "client").bundle("activity-2")


def test_keys_of_one_threshold_may_lie_on_sticks_of_their_own(
    tmp_path: Path, bundle: MakeBundle
) -> None:
    made = Repository(tmp_path / "repo")
    made.create({"targets": RoleKeys(threshold=2, count=2)})
    sticks = [tmp_path / "anna", tmp_path / "ben"]
    for stick, key in zip(sticks, sorted(made.folder.keys.glob("targets-*")), strict=True):
        stick.mkdir()
        shutil.move(key, stick)
    with pytest.raises(TrustError, match=r"1 of 2 signatures"):
        Repository(tmp_path / "repo", keys=sticks[0]).release([bundle(1)])
    Repository(tmp_path / "repo", keys=sticks).release([bundle(1)])
    assert Client(tmp_path / "repo", tmp_path / "client").bundle("activity-1")


def test_a_key_that_stays_or_is_another_roles_too_is_not_given_up(
    tmp_path: Path, bundle: MakeBundle
) -> None:
    """As when one of three root keys is lost, and the two that are left go on with a new one."""
    made = Repository(tmp_path / "repo")
    made.create({"root": RoleKeys(threshold=2, count=3)})
    with made.open() as ledger:
        keys = {f"file2:keys/root-{k.keyid[:8]}.pem": k for k in ledger.keys_of("root")[0]}
    (lost, _), *left = keys.items()
    (made.folder.root / lost.partition(":")[2]).unlink()
    new = make_key(made.folder, "root")
    made.rotate("targets", RoleKeys(given=(left[0],)))
    gone = made.rotate("root", RoleKeys(threshold=2, given=(*left, new)))
    assert [path.name for path in gone] == [Path(lost).name]
    assert made.rotate("root", RoleKeys(threshold=1, given=(new,)))[0].name == Path(left[1][0]).name
    made.release([bundle(1)])
    made.refresh(everything=True)
    assert Client(tmp_path / "repo", tmp_path / "client").bundle("activity-1")


def test_a_key_of_another_kind_may_be_given(tmp_path: Path, bundle: MakeBundle) -> None:
    """As for a KMS: the public half in PEM, the private one known by its URI."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    from edgeml.fleet.repo.signers import foreign_key

    private = ec.generate_private_key(ec.SECP256R1())
    pem, public = tmp_path / "kms.pem", tmp_path / "public.pem"
    pem.write_bytes(
        private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    pem.chmod(0o600)
    public.write_bytes(
        private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    made = Repository(tmp_path / "repo")
    made.create({"targets": RoleKeys(1, 1, (foreign_key(f"file2:{pem}", public),))})
    made.release([bundle(1)])
    assert Client(tmp_path / "repo", tmp_path / "client").bundle("activity-1")
    with pytest.raises(ConfigError, match="no public key in PEM"):
        foreign_key("awskms:x", bundle(3))
    with pytest.raises(ConfigError, match="is no signer"):
        foreign_key("nothing", public)


def test_a_signer_that_cannot_sign_is_named(tmp_path: Path) -> None:
    from edgeml.fleet.repo.signers import make_key

    made = Repository(tmp_path / "repo")
    made.folder.create()
    _, key = make_key(made.folder, "root")
    given = ("nokms:alias/root", key)
    with pytest.raises(TrustError, match="nokms:alias/root: the key cannot be used"):
        made.create({"root": RoleKeys(1, 1, (given,))})


def test_private_keys_are_their_owners_own_and_git_does_not_see_them(
    repository: Repository, bundle: MakeBundle
) -> None:
    paths = list(repository.folder.keys.iterdir())
    assert len(paths) == 5
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    assert "keys/" in (repository.folder.root / ".gitignore").read_text().splitlines()
    for path in paths:
        path.chmod(0o644)
    with pytest.raises(ConfigError, match="every user can read"):
        repository.release([bundle(1)])


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


def _files(repository: Repository) -> dict[str, bytes]:
    root = repository.folder.root
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
