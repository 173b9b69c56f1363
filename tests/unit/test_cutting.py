"""Chunks follow the content: what did not change between two releases is cut the same."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

from edgeml.bundle import Bundle, pack
from edgeml.cutting import Sizes, _hashes, cut, seams
from edgeml.errors import BundleError

ROOT = Path(__file__).resolve().parents[2]
ACTIVITY = ROOT / "models" / "activity" / "activity.tflite"
SMALL = Sizes(256, 1024, 4096)


def _grown(bytes_: int, seed: int = 0) -> bytes:
    """A bundle whose zip carries so much noise more: the golden windows of a camera, say."""
    bundle = Bundle.read(ACTIVITY)
    noise = random.Random(seed).randbytes(bytes_)
    baseline = {"noise": noise.hex()}
    return pack(bundle.tflite, bundle.manifest, bundle.golden, baseline)


@pytest.mark.parametrize("sizes", [SMALL, Sizes(), Sizes(4096, 4096, 8192)])
@pytest.mark.parametrize("data", [ACTIVITY.read_bytes(), _grown(100_000)], ids=["small", "grown"])
def test_chunks_make_the_bundle_and_keep_their_bounds(data: bytes, sizes: Sizes) -> None:
    chunks = cut(data, sizes)
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= sizes.most for chunk in chunks)
    assert cut(data, sizes) == chunks


def test_a_tensor_that_changes_leaves_the_chunks_of_the_others_alone() -> None:
    data = ACTIVITY.read_bytes()
    largest = max(zip(seams(data), seams(data)[1:], strict=False), key=lambda s: s[1] - s[0])
    changed = bytearray(data)
    changed[largest[0] : largest[1]] = random.Random(1).randbytes(largest[1] - largest[0])
    kept = set(cut(data, SMALL)) & set(cut(bytes(changed), SMALL))
    outside = len(data) - (largest[1] - largest[0])
    assert sum(map(len, kept)) > outside - 2 * SMALL.usual


def test_new_labels_cost_the_zip_and_not_the_model() -> None:
    bundle = Bundle.read(ACTIVITY)
    labels = tuple(f"new {label}" for label in bundle.manifest.outputs.labels)
    manifest = bundle.manifest.replace(outputs=bundle.manifest.outputs._replace(labels=labels))
    new = pack(bundle.tflite, manifest, bundle.golden, bundle.baseline)
    fresh = set(cut(new, SMALL)) - set(cut(ACTIVITY.read_bytes(), SMALL))
    assert sum(map(len, fresh)) < 4096 + SMALL.usual


def test_what_moves_within_a_long_member_is_found_again() -> None:
    noise = random.Random(2).randbytes(200_000)
    sizes = Sizes()
    bundle = Bundle.read(ACTIVITY)

    def chunks(content: bytes) -> set[bytes]:
        baseline = {"noise": content.hex()}
        return set(cut(pack(bundle.tflite, bundle.manifest, None, baseline), sizes))

    before, after = chunks(noise), chunks(noise[:100_000] + b"something" + noise[100_000:])
    assert sum(map(len, before & after)) > 0.3 * sum(map(len, before))


def test_the_hash_of_a_place_is_that_of_the_32_bytes_before_it() -> None:
    data = np.frombuffer(random.Random(3).randbytes(500), np.uint8)
    whole = _hashes(data)
    for at in (40, 100, 499):
        assert whole[at] == _hashes(data[at - 31 : at + 1])[-1]
        assert whole[at] != _hashes(data[at - 20 : at + 1])[-1]


@pytest.mark.workstation
def test_twenty_megabytes_are_cut_within_seconds() -> None:
    bundle = Bundle.read(ACTIVITY)
    # Behind the model, where the zip stands, anything may lie that a zip's end vouches for.
    data = bundle.tflite + random.Random(4).randbytes(20 << 20)
    start_s = time.process_time()
    chunks = cut(data)
    assert time.process_time() - start_s < 30
    assert len(data) / 40_000 < len(chunks) < len(data) / 8_000


@pytest.mark.parametrize("data", [b"", b"no bundle at all", ACTIVITY.read_bytes()[:-1]])
def test_what_is_no_bundle_is_not_cut(data: bytes) -> None:
    with pytest.raises(BundleError):
        cut(data)
