"""Reading what people write: spec.toml, and windows in npz, npy and csv."""

import io
from pathlib import Path

import numpy as np
import pytest

from edgeml.errors import ConfigError, InputError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors.windowfile import read_windows
from edgeml_converters import read_spec
from edgeml_converters.datafiles import read_labels
from edgeml_converters.samples import Samples, standardize_step

INPUTS = InputSpec(channels(("x", "y"), "g"), 50.0, 4, 2, (4, 2))

SPEC = """
name = "pump"
[input]
channels = [{ name = "x" }]
sample_rate_hz = 100
window = 64
[output]
task = "anomaly"
threshold = 0.5
[budgets]
p95_ms = 5
"""


def test_a_series_needs_no_shape_and_moves_on_by_its_own_length(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    spec = read_spec(tmp_path / "spec.toml")
    assert spec.inputs.shape == (64, 1)
    assert spec.inputs.stride == 64
    assert spec.version == 1
    assert spec.budgets is not None
    assert spec.budgets.p95_ms == 5


# What is written instead, and what the message must say.
MISTAKES = [
    ("window = 64", "windw = 64", "spec.input.windw is not a known key; did you mean 'window'"),
    ("[output]", "[outptu]", "spec.output is missing; is it misspelt as 'outptu'"),
    ('task = "anomaly"', 'task = "anomly"', "did you mean 'anomaly'"),
    ("threshold = 0.5", "", "an anomaly model needs one"),
    ('name = "pump"', 'name = "my pump"', "use 1 to 64 of A-Z"),
    ("window = 64", "window = 0", "every axis needs at least one"),
    ("window = 64", "window =", "not TOML"),
    ("p95_ms = 5", "p95 = 5", "did you mean 'p95_ms'"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES)
def test_a_mistake_in_a_spec_is_named_with_its_file(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC.replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        read_spec(path)
    assert message in str(caught.value)
    assert "spec.toml" in str(caught.value)


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        read_spec(tmp_path / "absent.toml")


def test_windows_and_labels_come_out_of_an_npz_by_their_names(tmp_path: Path) -> None:
    windows = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    np.savez(tmp_path / "a.npz", windows=windows, labels=["a", "b", "a"], note=[1, 2])
    read, labels = read_windows(tmp_path / "a.npz", INPUTS)
    np.testing.assert_array_equal(read, windows)
    assert labels is not None
    assert labels.tolist() == ["a", "b", "a"]
    np.savez(tmp_path / "b.npz", specs=windows)
    np.testing.assert_array_equal(read_windows(tmp_path / "b.npz", INPUTS)[0], windows)
    np.save(tmp_path / "c.npy", windows)
    np.testing.assert_array_equal(read_windows(tmp_path / "c.npy", INPUTS)[0], windows)


def test_a_csv_is_cut_into_windows_by_the_spec_whatever_the_order_of_its_columns(
    tmp_path: Path,
) -> None:
    rows = np.arange(10)
    lines = ["time,y,x"] + [f"{i * 0.02},{i + 100},{i}" for i in rows]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    windows, labels = read_windows(tmp_path / "a.csv", INPUTS)
    assert labels is None
    assert windows.shape == (4, 4, 2)
    np.testing.assert_array_equal(windows[1], [[2, 102], [3, 103], [4, 104], [5, 105]])
    (tmp_path / "b.csv").write_text("time,Y,x\n1,2,3\n")
    with pytest.raises(InputError, match="no column 'y'"):
        read_windows(tmp_path / "b.csv", INPUTS)


def test_labels_are_read_from_text_as_numbers_where_they_all_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1\n0\n2\n")
    assert read_labels(tmp_path / "a.txt").tolist() == [1.0, 0.0, 2.0]
    (tmp_path / "b.txt").write_text("walk\nrun\n")
    assert read_labels(tmp_path / "b.txt").tolist() == ["walk", "run"]


def _bomb() -> bytes:
    """An npz of a few kilobytes that unpacks to 4 MB of zeros."""
    raw = io.BytesIO()
    np.savez_compressed(raw, windows=np.zeros(1 << 20, np.float32))
    return raw.getvalue()


def _boastful() -> bytes:
    """An npy of 128 bytes whose header claims 4 TB."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _pickled() -> bytes:
    raw = io.BytesIO()
    np.savez(raw, windows=np.array([{"a": 1}], object))
    return raw.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"no zip at all", "not an array file"),
        ("a.npz", b"", "not an array file"),
        ("a.npy", b"\x93NUMPY\x01\x00", "not an array file"),
        ("a.npz", _pickled(), "not an array file"),
        ("a.npy", _boastful(), "not an array file"),
        ("a.csv", b"x,y\n1,two\n", "a.csv:2: could not convert"),
        ("a.csv", b"x,y\n1,2\n", "1 rows, fewer than one window of 4"),
        ("a.npzz", b"", "did you mean '.npz'"),
        ("a.wav", b"", "no WAV file"),
    ],
)
def test_a_damaged_or_hostile_data_file_is_one_line_of_error(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_windows(tmp_path / name, INPUTS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_bomb_is_refused_by_its_own_table_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeml.sensors.arrayfile.MAX_BYTES", 1 << 20)
    (tmp_path / "bomb.npz").write_bytes(_bomb())
    with pytest.raises(InputError, match="bytes once unpacked"):
        read_windows(tmp_path / "bomb.npz", INPUTS)


def test_the_digest_of_calibration_data_changes_with_any_of_it() -> None:
    windows = np.zeros((3, 4, 2), np.float32)
    changed = windows.copy()
    changed[2, 3, 1] = 1e-30
    digests = {Samples(w).digest() for w in (windows, changed, windows.reshape(3, 2, 4))}
    assert len(digests) == 3


def test_a_standardisation_refuses_a_channel_that_never_varies() -> None:
    windows = np.random.default_rng(0).normal(size=(5, 4, 2))
    windows[..., 1] = 3
    with pytest.raises(InputError, match=r"element \[1\] never varies"):
        standardize_step(windows)
