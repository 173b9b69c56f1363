"""The device's trust against a publisher's real repository, and against a hostile one."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from edgeml.errors import LinkError, TrustError, UpdateError
from edgeml.fleet.repo.packing import encode_metadata
from edgeml.fleet.repo.publish import Outgoing, to_folder
from edgeml.fleet.repo.signers import Keyring, Settings
from edgeml.ota.asking import Trusting
from edgeml.ota.standing import Standing
from edgeml.ota.trust import Trust
from edgeml.ota.trustprocess import TrustProcess
from edgeml.releases.chunk import decode
from edgeml.releases.metadata import parse_metadata
from edgeml.releases.names import SIGNED_S, file_name

from .publisher import DAY_S, Publisher, getter

Kind = Callable[[Path, bytes], Trusting]


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.release(1)
    made.offer(2)
    return made


@pytest.fixture(params=[Trust, TrustProcess], ids=["here", "in a process"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def trust(tmp_path: Path, publisher: Publisher, kind: Kind) -> Trusting:
    return kind(tmp_path / "trust", publisher.root)


def check(trust: Trusting, publisher: Publisher, floor_s: float = 0.0) -> Standing:
    return trust.check(
        getter(publisher.out), "default", ("activity",), publisher.clock.now_s(), floor_s
    )


def test_a_release_that_is_rolled_out_is_offered(trust: Trusting, publisher: Publisher) -> None:
    standing = check(trust, publisher)
    offer = standing.offers["activity"]
    assert offer.rule.release == "activity-2"
    assert standing.revoked == frozenset()
    assert standing.signed_s == offer.rule.issued_s
    assert offer.said_s == int(publisher.clock.now_s())


def test_the_chunks_of_the_signed_index_make_the_bundle(
    trust: Trusting, publisher: Publisher, tmp_path: Path
) -> None:
    offer = check(trust, publisher).offers["activity"]
    get = getter(publisher.out)
    index = trust.index(get, "activity-2")
    made = b""
    for chunk in index.chunks:
        encoded = get(file_name(chunk.digest))
        assert encoded is not None
        made += decode(encoded, chunk.digest, chunk.plain_bytes)
    assert made == (tmp_path / "activity-2.tflite").read_bytes()
    assert index.bundle_digest == offer.bundle_digest


def test_what_was_learned_survives_and_a_new_root_is_followed(
    trust: Trusting, publisher: Publisher, tmp_path: Path, kind: Kind
) -> None:
    first = publisher.root
    check(trust, publisher)
    publisher.repository.rotate("root")
    publisher.repository.rotate("timestamp")
    publisher.offer(3)
    again = kind(tmp_path / "trust", first)
    assert check(again, publisher).offers["activity"].rule.release == "activity-3"


def test_a_device_follows_more_roots_than_a_client_of_tuf_does_by_itself(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    repository = publisher.repository
    with repository.open() as ledger:
        keyring = Keyring(repository.folder, Settings.read(repository.folder))
        for _ in range(257):
            ledger.seal(["root"], keyring, publisher.clock.now_s())
    repository.rotate("timestamp")
    publisher.publish()
    assert check(Trust(tmp_path / "trust", publisher.root), publisher).root_version == 259


def test_a_group_without_a_rule_is_offered_nothing(trust: Trusting, publisher: Publisher) -> None:
    standing = trust.check(
        getter(publisher.out), "night-shift", ("activity",), publisher.clock.now_s(), 0.0
    )
    assert standing.offers == {}


def test_a_revoked_release_is_named(trust: Trusting, publisher: Publisher) -> None:
    publisher.repository.revoke("activity-2")
    publisher.publish()
    standing = check(trust, publisher)
    assert standing.revoked == {"activity-2"}
    assert standing.offers == {}


@pytest.mark.parametrize(
    "root", [b"", b"{}", b"[]", b'{"signed": 1}', b'{"signed": {"_type": "x"}}']
)
def test_a_root_that_is_none_is_refused(tmp_path: Path, root: bytes, kind: Kind) -> None:
    with pytest.raises(TrustError, match="the root file is not TUF root metadata"):
        kind(tmp_path / "trust", root)


def test_what_fetching_raises_comes_through_the_process(
    tmp_path: Path, publisher: Publisher
) -> None:
    def get(_: str) -> bytes | None:
        raise LinkError("the broker is gone")

    trust = TrustProcess(tmp_path / "trust", publisher.root)
    with pytest.raises(LinkError, match="the broker is gone"):
        trust.check(get, "default", (), publisher.clock.now_s(), 0.0)


def test_a_process_that_dies_is_a_refusal_and_the_next_one_is_asked_again(
    tmp_path: Path, publisher: Publisher
) -> None:
    trust = TrustProcess(tmp_path / "trust", publisher.root)
    (tmp_path / "trust").write_text("a file where the folder should be")
    with pytest.raises(UpdateError, match=r"ended without an answer \(status 1: .*File"):
        check(trust, publisher)
    (tmp_path / "trust").unlink()
    assert check(trust, publisher).offers["activity"].rule.release == "activity-2"


HANGS = """
import sys, time
from edgeml.ota import trustchild
trustchild.SILENT_S = 3
trustchild._carry_out = lambda order, get: (get("timestamp.json"), time.sleep(600))
sys.exit(trustchild.main(sys.argv[1:]))
"""


def test_a_process_that_hangs_ends_by_itself_but_not_while_the_network_is_slow(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging_child.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("edgeml.ota.trustprocess.CHILD", "hanging_child")
    trust = TrustProcess(tmp_path / "trust", publisher.root)
    answered: list[str] = []

    def slow(name: str) -> bytes | None:
        time.sleep(4.0)
        answered.append(name)
        return b"{}"

    with pytest.raises(UpdateError, match=r"ended without an answer \(status -14"):
        trust.check(slow, "default", (), publisher.clock.now_s(), 0.0)
    assert answered == ["timestamp.json"]


def test_the_root_of_somebody_else_believes_nothing(tmp_path: Path, publisher: Publisher) -> None:
    (tmp_path / "other").mkdir()
    stranger = Publisher(tmp_path / "other")
    mine = Trust(tmp_path / "mine", stranger.root)
    with pytest.raises(TrustError, match=r"^(unsigned|invalid): "):
        check(mine, publisher)


def test_metadata_that_nobody_renewed_is_expired_even_with_the_clock_turned_back(
    trust: Trusting, publisher: Publisher
) -> None:
    check(trust, publisher)
    later_s = publisher.clock.now_s() + 400 * DAY_S
    with pytest.raises(TrustError, match=r"^expired: "):
        check(trust, publisher, floor_s=later_s)


def test_what_had_expired_when_the_timestamp_was_signed_is_expired_whatever_the_clock_says(
    trust: Trusting, publisher: Publisher
) -> None:
    """A clock that stands still, and a thief of the timestamp's key who keeps on signing."""
    folder = publisher.repository.folder
    keyring = Keyring(folder, Settings.read(folder))
    with publisher.repository.open() as ledger:
        ledger.seal(["timestamp"], keyring, publisher.clock.now_s() + 8 * DAY_S)
        to_folder(Outgoing(ledger, publisher.clock.now_s()), publisher.out)
    with pytest.raises(TrustError, match=r"^expired: the snapshot"):
        check(trust, publisher)


@pytest.mark.parametrize("said", [None, "tomorrow", True, [1]])
def test_a_timestamp_that_does_not_say_when_it_was_signed_is_believed_all_the_same(
    trust: Trusting, publisher: Publisher, said: object
) -> None:
    folder = publisher.repository.folder
    keyring = Keyring(folder, Settings.read(folder))
    path = publisher.out / "tuf" / "timestamp"
    timestamp = Metadata[Timestamp].from_bytes(path.read_bytes())
    timestamp.signed.unrecognized_fields[SIGNED_S] = said
    timestamp.signed.version += 1
    timestamp.signatures.clear()
    with publisher.repository.open() as ledger:
        keyring.sign(timestamp, "timestamp", *ledger.keys_of("timestamp"))
    path.write_bytes(timestamp.to_bytes())
    assert check(trust, publisher).offers["activity"].said_s == 0


def test_yesterdays_metadata_is_a_rollback(
    trust: Trusting, publisher: Publisher, tmp_path: Path
) -> None:
    shutil.copytree(publisher.out, tmp_path / "yesterday")
    publisher.repository.refresh(everything=True)
    publisher.publish()
    check(trust, publisher)
    publisher.out = tmp_path / "yesterday"
    with pytest.raises(TrustError, match=r"^rollback: "):
        check(trust, publisher)


def _tampered(publisher: Publisher, name: str, old: bytes, new: bytes) -> None:
    """Change a file inside the metadata bundle, signature and all else left as they are."""
    path = publisher.out / "tuf" / "bundle"
    files = parse_metadata(path.read_bytes())
    names = [one for one in files if one.endswith(name)]
    assert names
    for one in names:
        assert old in files[one]
        files[one] = files[one].replace(old, new)
    path.write_bytes(encode_metadata(files))


@pytest.mark.parametrize(
    ("role", "old", "new"),
    [
        ("targets.json", b"activity-2", b"activity-9"),
        ("rollout.json", b"10000", b"09999"),
        ("snapshot.json", b"targets.json", b"targetz.json"),
    ],
)
def test_metadata_changed_on_the_way_is_refused(
    role: str, old: bytes, new: bytes, trust: Trusting, publisher: Publisher
) -> None:
    _tampered(publisher, role, old, new)
    with pytest.raises(TrustError, match=r"^(tampered|unsigned|invalid): "):
        check(trust, publisher)


def test_the_timestamp_cannot_be_made_up(trust: Trusting, publisher: Publisher) -> None:
    path = publisher.out / "tuf" / "timestamp"
    document = json.loads(path.read_bytes())
    document["signed"]["version"] += 10
    path.write_bytes(json.dumps(document).encode())
    with pytest.raises(TrustError, match=r"^unsigned: "):
        check(trust, publisher)


def test_a_timestamp_without_end_is_cut_off(trust: Trusting, publisher: Publisher) -> None:
    (publisher.out / "tuf" / "timestamp").write_bytes(b" " * (1 << 20))
    with pytest.raises(TrustError, match=r"^endless: "):
        check(trust, publisher)


@pytest.mark.parametrize("name", ["tuf/timestamp", "tuf/bundle"])
def test_what_is_not_published_is_missing(name: str, trust: Trusting, publisher: Publisher) -> None:
    (publisher.out / name).unlink()
    with pytest.raises(TrustError, match=r"^missing: "):
        check(trust, publisher)


def test_an_index_with_other_bytes_under_its_name_is_refused(
    trust: Trusting, publisher: Publisher
) -> None:
    check(trust, publisher)
    with publisher.repository.open() as ledger:
        info = ledger.targets.signed.targets["releases/activity-2"]
    (publisher.out / file_name(info.hashes["sha256"])).write_bytes(b"\0{}")
    with pytest.raises(TrustError, match=r"^(tampered|missing): "):
        trust.index(getter(publisher.out), "activity-2")
