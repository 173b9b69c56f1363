"""What publisher and device agree on is read strictly, whoever wrote it."""

import json
import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml import manifest
from edgeml.errors import UpdateError
from edgeml.fleet.repo.packing import encode, encode_metadata
from edgeml.releases import names
from edgeml.releases.chunk import MAX_CHUNK_BYTES, decode, decode_file, digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex
from edgeml.releases.metadata import parse_metadata

PIECES = (b"one", b"two" * 100, b"three")
BUNDLE = b"".join(PIECES)
INDEX = ReleaseIndex(
    "activity",
    2,
    digest_of(BUNDLE),
    len(BUNDLE),
    tuple(ChunkRef(digest_of(piece), len(piece)) for piece in PIECES),
)


def _floats() -> bytes:
    import array

    rng = random.Random(0)
    return array.array("f", [rng.gauss(0, 0.05) for _ in range(16_000)]).tobytes()


@pytest.mark.parametrize(
    "plain",
    [b"", b"a", b"abcde" * 1000, random.Random(1).randbytes(5001), _floats(), _floats() + b"xy"],
    ids=["nothing", "one byte", "text", "noise", "floats", "floats and a bit"],
)
def test_a_chunk_comes_back_as_it_was(plain: bytes) -> None:
    assert decode(encode(plain), digest_of(plain), len(plain)) == plain


@given(st.binary(max_size=300))
def test_every_chunk_costs_at_most_a_byte_more_than_it_is(plain: bytes) -> None:
    encoded = encode(plain)
    assert decode(encoded, digest_of(plain), len(plain)) == plain
    assert len(encoded) <= len(plain) + 1


def test_float_weights_are_packed_better_than_zlib_packs_them() -> None:
    plain = _floats()
    assert len(encode(plain)) < 0.95 * len(zlib.compress(plain, 9))


PLAIN = b"some plain bytes " * 20
BOMB = b"\x01" + zlib.compress(bytes(50_000_000), 9)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x00",
        b"\x07" + PLAIN,
        b"\x00" + PLAIN[:-1],
        b"\x00" + PLAIN + b"x",
        b"\x00" + PLAIN[:-1] + b"x",
        b"\x01" + PLAIN,
        b"\x01" + zlib.compress(PLAIN)[:-1],
        b"\x01" + zlib.compress(PLAIN) + b"x",
        b"\x01" + zlib.compress(PLAIN + b"x"),
        b"\x02" + zlib.compress(PLAIN),
        BOMB,
        b"\x02" + BOMB[1:],
    ],
)
def test_a_chunk_that_is_not_what_its_name_says_is_refused(encoded: bytes) -> None:
    with pytest.raises(UpdateError, match=r"^tampered"):
        decode(encoded, digest_of(PLAIN), len(PLAIN))


def test_a_bomb_is_unpacked_no_further_than_the_limit() -> None:
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(UpdateError):
        decode_file(BOMB, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=200))
def test_noise_is_never_more_than_an_update_error(noise: bytes) -> None:
    for read in (lambda: decode(noise, digest_of(PLAIN), 340), lambda: parse_metadata(noise)):
        with pytest.raises(UpdateError):
            read()
    with pytest.raises(UpdateError):
        ReleaseIndex.parse(noise)


def test_an_index_comes_back_as_it_was_and_knows_its_offsets() -> None:
    assert ReleaseIndex.parse(INDEX.encode()) == INDEX
    assert INDEX.offsets == (0, 3, 303)
    assert INDEX.release == "activity-2"


def _index(**changes: object) -> bytes:
    return json.dumps({**json.loads(INDEX.encode()), **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"[" * 100_000,
        _index(v=2),
        _index(name="../x"),
        _index(name=""),
        _index(version=0),
        _index(version=True),
        _index(version=1 << 53),
        _index(sha256="ABC"),
        _index(bytes=307),
        _index(bytes=-1),
        _index(chunks=[]),
        _index(chunks=[], lengths=[], bytes=0),
        _index(chunks=["x" * 64] * 3),
        _index(lengths=[3, 300]),
        _index(lengths=[0, 303, 5]),
        _index(lengths=[-3, 306, 5]),
        _index(lengths=[3, MAX_CHUNK_BYTES + 1, 5], bytes=MAX_CHUNK_BYTES + 9),
        _index(lengths=[3, 300, "5"]),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(UpdateError):
        ReleaseIndex.parse(data)


def test_what_a_later_version_adds_is_overlooked() -> None:
    assert ReleaseIndex.parse(_index(more=1)) == INDEX


def test_an_index_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(UpdateError, match="says 99 bytes"):
        replace(INDEX, bundle_bytes=99)


@pytest.mark.parametrize("version", [1, 2, names.MAX_VERSION])
def test_a_release_id_is_read_back_as_it_was_made(version: int) -> None:
    assert names.parse_release_id(names.release_id("a-b_1-2", version)) == ("a-b_1-2", version)


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "a-0", "a-01", "a-1.0", "a/b-1", "..-1", "a-9" + "9" * 16, "a-1\n"]
)
def test_what_is_no_release_id_is_refused(text: str) -> None:
    with pytest.raises(UpdateError):
        names.release_target(text)


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_digest_becomes_no_path(digest: str) -> None:
    with pytest.raises(UpdateError):
        names.file_name(digest)


def test_every_name_and_version_of_a_manifest_makes_a_release() -> None:
    assert names.MAX_VERSION == manifest.MAX_VERSION
    assert manifest.NAME_PATTERN.pattern == "[A-Za-z0-9_-]{1,64}"
    names.parse_release_id(names.release_id("x" * 64, manifest.MAX_VERSION))


METADATA = {"1.root.json": b'{"a": "\xc3\xbc"}\n', "timestamp.json": b"{}", "3.rollout.json": b" "}


def test_the_metadata_comes_back_byte_by_byte() -> None:
    assert parse_metadata(encode_metadata(METADATA)) == METADATA


@pytest.mark.parametrize(
    "name", ["root.json", "0.root.json", "../1.root.json", "1.other.json", "1.timestamp.json", ""]
)
def test_the_metadata_has_only_the_names_of_tuf(name: str) -> None:
    with pytest.raises(UpdateError):
        encode_metadata({name: b"{}"})
    with pytest.raises(UpdateError):
        parse_metadata(encode(json.dumps({"v": 1, "files": {name: "{}"}}).encode()))


@pytest.mark.parametrize("files", [None, [], {"timestamp.json": 1}, {"timestamp.json": "\ud800"}])
def test_metadata_that_is_not_text_is_refused(files: object) -> None:
    with pytest.raises(UpdateError):
        parse_metadata(encode(json.dumps({"v": 1, "files": files}).encode()))


def test_metadata_without_end_is_refused() -> None:
    with pytest.raises(UpdateError):
        parse_metadata(b"\x01" + zlib.compress(bytes(5 << 20)))
    with pytest.raises(UpdateError):
        encode_metadata({f"{i}.root.json": b"{}" for i in range(1, 1002)})
