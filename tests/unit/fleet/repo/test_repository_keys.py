"""Whose keys sign for a repository: thresholds, sticks, rotations, signers of other kinds."""

import shutil
import stat
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, TrustError
from edgeml.fleet.repo.repository import Repository, RoleKeys
from edgeml.fleet.repo.signers import foreign_key, make_key

from .tufclient import Client, MakeBundle, files_of


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
    before = files_of(made)
    with pytest.raises(TrustError, match=r"1 of 2 signatures; not here: file2:keys/targets-"):
        made.release([bundle(1)])
    assert {n: d for n, d in files_of(made).items() if n.startswith("metadata")} == {
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
