"""Every file is a bundle or a BundleError: written once and the same, read without trust."""

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.archive import Archive, write_zip
from edgeml.bundle import Bundle, Golden, pack, read_file, split, write_bundle
from edgeml.errors import BundleError, ManifestError
from edgeml.manifest import InputSpec, Manifest, OutputSpec, PreprocessStep, channels
from edgeml.npy import read_npy, write_npy
from edgeml.runtime.source import read_source

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = (FIXTURES / "classifier_int8.tflite").read_bytes()
MIB = 1 << 20


def manifest(**changes: Any) -> Manifest:
    base = Manifest(
        name="gait",
        version=7,
        task="classification",
        created="2026-01-31T12:00:00Z",
        description="Gehen, laufen, springen → µ-controller",
        inputs=InputSpec(channels(("x", "y", "z"), "m/s^2"), 50.0, 20, 10, (20, 3)),
        outputs=OutputSpec("classification", ("still", "walk", "run", "jump")),
        preprocess=(PreprocessStep("standardize", {"mean": 0, "std": [1, 2, 3]}),),
    )
    return base.replace(**changes)


def golden() -> Golden:
    windows = np.linspace(-3, 3, 120, dtype=np.float32).reshape(2, 20, 3)
    return Golden(windows, np.array([[1, 2, 3, 4], [5, 6, 7, -128]], np.int8), 1.0)


BASELINE = {"schema": 1, "inputs": [{"edges": [0.5, 1.5], "counts": [1, 2, 3]}]}
GOOD = pack(MODEL, manifest(), golden(), BASELINE)


def test_what_was_packed_is_what_is_read() -> None:
    bundle = Bundle.from_bytes(GOOD)
    expected = manifest().replace(tflite_sha256=bundle.manifest.tflite_sha256)
    assert bundle.manifest == expected
    assert bundle.tflite == MODEL
    assert bundle.baseline == BASELINE
    assert bundle.golden is not None
    assert np.array_equal(bundle.golden.windows, golden().windows)
    assert np.array_equal(bundle.golden.outputs, golden().outputs)
    assert bundle.golden.outputs.dtype == np.int8
    assert bundle.golden.tolerance == 1.0
    assert bundle.size_bytes == len(GOOD)


def test_equal_inputs_give_equal_bytes_and_packing_again_changes_nothing() -> None:
    assert pack(MODEL, manifest(), golden(), BASELINE) == GOOD
    assert pack(GOOD, manifest(), golden(), BASELINE) == GOOD


def test_it_is_still_a_tflite_file_and_a_zip_for_every_other_tool() -> None:
    assert GOOD.startswith(MODEL)
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "golden.npz", "baseline.json", "labels.txt"]
        assert archive.read("labels.txt") == b"still\nwalk\nrun\njump\n"
        assert json.loads(archive.read("manifest.json"))["name"] == "gait"
        arrays = np.load(io.BytesIO(archive.read("golden.npz")), allow_pickle=False)
        assert np.array_equal(arrays["outputs"], golden().outputs)


def test_golden_and_baseline_may_be_left_out() -> None:
    bundle = Bundle.from_bytes(pack(MODEL, manifest()))
    assert bundle.golden is None
    assert bundle.baseline is None


def test_a_plain_model_says_what_to_do_with_it() -> None:
    with pytest.raises(BundleError, match=r"plain \.tflite without a manifest"):
        Bundle.from_bytes(MODEL)
    assert split(MODEL) == (MODEL, None)


def test_another_tools_metadata_is_not_a_bundle_but_a_model() -> None:
    """TFLite Metadata appends a zip of label files."""
    data = MODEL + write_zip({"labels.txt": b"a\nb\n"})
    assert read_source(data).manifest is None
    with pytest.raises(BundleError, match=r"plain \.tflite"):
        Bundle.from_bytes(data)


def test_a_bundle_cut_short_anywhere_is_refused() -> None:
    for length in range(0, len(GOOD), 7):
        with pytest.raises(BundleError):
            Bundle.from_bytes(GOOD[:length])


def test_a_bundle_cut_short_behind_the_model_does_not_pass_for_a_plain_one() -> None:
    """Cut at the model's last byte it is a plain model: the next four bytes tell them apart."""
    for length in range(len(MODEL) + 4, len(GOOD)):
        with pytest.raises(BundleError, match="cut short"):
            read_source(GOOD[:length])


def is_answered(data: bytes) -> None:
    """Read, or refused; never an error of another kind, never another bundle."""
    tracemalloc.start()
    try:
        bundle = Bundle.from_bytes(data)
    except BundleError:
        return
    else:
        good = Bundle.from_bytes(GOOD)
        assert bundle.tflite == good.tflite
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * MIB


@settings(max_examples=400)
@given(data=st.data())
def test_a_mutated_bundle_is_refused_or_carries_the_same_model(data: st.DataObject) -> None:
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    is_answered(bytes(mutated))


@settings(max_examples=300)
@given(data=st.data())
def test_so_is_one_whose_zip_alone_is_mutated(data: st.DataObject) -> None:
    """The model's digest catches the rest; here every mutation meets the zip reader."""
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(len(MODEL), len(mutated) - 1))
        mutated[at] = data.draw(st.sampled_from([0, 1, 8, 14, 127, 128, 254, 255]))
    is_answered(bytes(mutated))


@settings(max_examples=200)
@given(data=st.data())
def test_pieces_in_another_order_are_refused_or_carry_the_same_model(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(GOOD)), min_size=1, max_size=4)))
    edges = [0, *cuts, len(GOOD)]
    pieces = [GOOD[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
    is_answered(b"".join(data.draw(st.permutations(pieces))))


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    for content in (data, b"\0\0\0\0TFL3" + data):
        with pytest.raises(BundleError):
            Bundle.from_bytes(content)


def with_members(**members: bytes) -> bytes:
    """A bundle some of whose members are replaced."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    renamed = {name.replace("_", "."): value for name, value in members.items()}
    return MODEL + write_zip({**content, **renamed})


def npz(**arrays: Any) -> bytes:
    base = {
        "windows": golden().windows,
        "outputs": golden().outputs,
        "tolerance": np.float64(1.0),
        **arrays,
    }
    return write_zip({f"{name}.npy": write_npy(array) for name, array in base.items()})


def bomb(name: str, size: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A member that inflates to `size` zeros and claims to be small."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        with zipfile.ZipFile(io.BytesIO(GOOD)) as good:
            for other in good.namelist():
                if other != name:
                    archive.writestr(other, good.read(other))
        with archive.open(name, "w", force_zip64=False) as member:
            for _ in range(size // MIB):
                member.write(bytes(MIB))
    data = bytearray(buffer.getvalue())
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    return MODEL + bytes(data)


def many_members(count: int) -> bytes:
    return MODEL + write_zip({f"m{i}": b"" for i in range(count)})


def lying_directory() -> bytes:
    """One member counted, thousands listed."""
    data = bytearray(many_members(3000))
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<2H", data, end + 8, 1, 1)
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a deflate bomb": (lambda: bomb("baseline.json", 200 * MIB), "larger than|damaged"),
    "an LZMA bomb": (
        lambda: bomb("baseline.json", 200 * MIB, zipfile.ZIP_LZMA),
        "compressed in a way",
    ),
    "a bzip2 bomb": (
        lambda: bomb("baseline.json", 200 * MIB, zipfile.ZIP_BZIP2),
        "compressed in a way",
    ),
    "a manifest of 200 MiB": (lambda: bomb("manifest.json", 200 * MIB), "larger than|damaged"),
    "a thousand members": (lambda: many_members(1000), "zip is damaged"),
    "a directory longer than it says": (lying_directory, "zip is damaged"),
    "a golden.npz that is no zip": (lambda: with_members(golden_npz=b"PK"), "golden.npz"),
    "a golden.npz of many members": (
        lambda: with_members(golden_npz=write_zip({f"m{i}": b"" for i in range(1000)})),
        "damaged",
    ),
    "a pickle in golden.npz": (
        lambda: with_members(
            golden_npz=write_zip({"windows.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}"})
        ),
        "damaged",
    ),
    "golden windows of another shape": (
        lambda: with_members(golden_npz=npz(windows=np.zeros((2, 20, 4), np.float32))),
        "the manifest says",
    ),
    "golden windows in float64": (
        lambda: with_members(golden_npz=npz(windows=np.zeros((2, 20, 3)))),
        "the manifest says",
    ),
    "golden windows with NaN": (
        lambda: with_members(golden_npz=npz(windows=np.full((2, 20, 3), np.nan, np.float32))),
        "NaN",
    ),
    "fewer golden outputs than windows": (
        lambda: with_members(golden_npz=npz(outputs=np.zeros((1, 4), np.int8))),
        "2 windows but 1 outputs",
    ),
    "no golden windows": (
        lambda: with_members(
            golden_npz=npz(
                windows=np.zeros((0, 20, 3), np.float32), outputs=np.zeros((0, 4), np.int8)
            )
        ),
        "0 windows",
    ),
    "a negative tolerance": (
        lambda: with_members(golden_npz=npz(tolerance=np.float64(-1))),
        "tolerance",
    ),
    "a tolerance of NaN": (
        lambda: with_members(golden_npz=npz(tolerance=np.float64("nan"))),
        "tolerance",
    ),
    "a baseline that is a list": (lambda: with_members(baseline_json=b"[]"), "not a JSON object"),
    "a baseline with NaN": (lambda: with_members(baseline_json=b'{"a": NaN}'), "not JSON"),
    "a baseline nested without end": (
        lambda: with_members(baseline_json=b'{"a":' + b"[" * 100_000),
        "not JSON",
    ),
    "a manifest of another model": (
        lambda: with_members(
            manifest_json=manifest().replace(tflite_sha256="0" * 64).to_json().encode()
        ),
        "SHA-256",
    ),
    "a manifest in another encoding": (
        lambda: with_members(manifest_json=manifest().to_json().encode("utf-16")),
        "SHA-256|not JSON",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_bundle_is_refused_in_bounded_memory(attack: str) -> None:
    make, message = HOSTILE[attack]
    data = make()
    tracemalloc.start()
    with pytest.raises(BundleError, match=message):
        Bundle.from_bytes(data, "hostile.tflite")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB + 3 * len(data)


def test_a_member_twice_is_refused_because_readers_differ_on_which_counts() -> None:
    other = manifest(version=8).to_json().encode()
    twice = write_zip({"manifest.json": b"", "nanifest.json": other})
    with pytest.raises(BundleError, match="twice"):
        Bundle.from_bytes(MODEL + twice.replace(b"nanifest.json", b"manifest.json"))


def test_a_file_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "gait.tflite"
    path.write_bytes(b"older")
    write_bundle(path, GOOD)
    assert Bundle.read(path).sha256 == Bundle.from_bytes(GOOD).sha256
    assert [p.name for p in tmp_path.iterdir()] == ["gait.tflite"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path / "missing" / "gait.tflite", GOOD)
    with pytest.raises(BundleError, match="cannot be read"):
        read_file(tmp_path / "missing.tflite")


def test_reading_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "gait.tflite"
    path.write_bytes(GOOD)
    tracemalloc.start()
    read_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB


def test_packing_something_else_is_an_error() -> None:
    with pytest.raises(BundleError, match="not a TFLite file"):
        pack(b"GGUF" * 10, manifest())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.arange(6, dtype=">i4").reshape(3, 2),
        np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        np.float64(0.5),
        np.zeros((0, 3), np.float32),
        np.zeros(5, np.uint16),
    ],
    ids=lambda a: f"{np.asarray(a).dtype.str}{np.shape(a)}",
)
def test_an_array_is_written_as_numpy_writes_it(array: Any) -> None:
    content = write_npy(array)
    assert np.array_equal(np.load(io.BytesIO(content), allow_pickle=False), array)
    again = read_npy(content)
    assert again.shape == np.shape(array)
    assert np.array_equal(again, array)
    buffer = io.BytesIO()
    plain = np.asarray(array).astype(np.asarray(array).dtype.newbyteorder("<"), order="C")
    np.save(buffer, plain, allow_pickle=False)
    assert content == buffer.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }",
        b"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,) + (0,) * 10**9, }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296), }",
        b"__import__('os').abort()",
    ],
)
def test_an_array_that_is_not_plain_numbers_is_refused(header: bytes) -> None:
    padded = header.ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + bytes(4)
    with pytest.raises(ValueError, match=r"header|length"):
        read_npy(content)


def test_an_archive_reads_what_is_asked_within_its_limit() -> None:
    archive = Archive(write_zip({"a": b"12345"}), "it")
    assert archive.read("a", 5) == b"12345"
    with pytest.raises(BundleError, match="it: a is larger than 4"):
        archive.read("a", 4)
    with pytest.raises(BundleError, match="it: no b in it"):
        archive.read("b", 4)


def test_a_future_schema_names_what_to_do() -> None:
    text = manifest().to_json().replace('"schema": "1.0"', '"schema": "3.0"')
    with pytest.raises(ManifestError, match=r"schema 3\.0 needs another edgeml.*upgrade"):
        Bundle.from_bytes(with_members(manifest_json=text.encode()))
