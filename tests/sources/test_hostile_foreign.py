"""Damaged and hostile .onnx and .pt2 files that look like models from outside, in the workers.

tests/converters/test_foreign_files.py has those that are refused without a worker.
"""

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import ConversionError
from edgeml_converters.sources import onnx_file, open_source, pt2_file

COUNT = {"onnx": 16, "pt2": 6}
CHECKS = {"onnx": onnx_file.check, "pt2": pt2_file.check}


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


def repacked(content: Path, place: Path, changes: dict[str, bytes]) -> Path:
    """A .pt2 whose members that end so have other content."""
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(place, "w") as new:
        for member in old.infolist():
            changed = [made for end, made in changes.items() if member.filename.endswith(end)]
            new.writestr(member.filename, changed[0] if changed else old.read(member))
    return place


def mutants(source: Path, place: Path) -> Iterator[Path]:
    """As many as COUNT says that look like a model from outside; ONNX has no checksums."""
    rng = np.random.default_rng(11)
    kind = source.suffix[1:]
    made = 0
    while made < COUNT[kind]:
        if kind == "onnx":
            changed = bytearray(source.read_bytes())
            for at in rng.integers(0, len(changed), 40):
                changed[at] ^= int(rng.integers(1, 256))
            place.write_bytes(changed)
        else:
            with zipfile.ZipFile(source) as archive:
                name = next(one for one in archive.namelist() if one.endswith("/model.json"))
                program = bytearray(archive.read(name))
            for at in rng.integers(0, len(program), 3):
                program[at] = int(rng.choice(list(b"0123456789aeinst")))
            repacked(source, place, {"/model.json": bytes(program)})
        try:
            CHECKS[kind](place)
        except ConversionError:
            continue
        made += 1
        yield place


def refusal(path: Path) -> str:
    """What opening the file objects to; nothing where it opens."""
    try:
        open_source(path)
    except ConversionError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_damaged_model_is_one_line_of_error_or_was_harmlessly_changed(
    kind: str, files: Path, tmp_path: Path
) -> None:
    said = [refusal(path) for path in mutants(files / f"cnn.{kind}", tmp_path / f"bad.{kind}")]
    assert any(said)
    assert not [line for line in said if "\n" in line]


def test_pickles_in_a_torch_export_file_are_executed_nowhere(files: Path, tmp_path: Path) -> None:
    """The example inputs are a pickle of PyTorch's; those of another kind are not loaded."""
    bad = pickle.dumps(Exploit(tmp_path / "owned"))
    with zipfile.ZipFile(files / "cnn.pt2") as archive:
        names = [name for name in archive.namelist() if name.endswith(".pt")]
    assert names, "PyTorch keeps no pickle in its files any more"
    hostile = repacked(files / "cnn.pt2", tmp_path / "hostile.pt2", {".pt": bad})
    assert "\n" not in refusal(hostile)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_truncated_file_of_the_command_is_one_line_and_leaves_no_file(
    kind: str, files: Path, spec_file: Path, pictures: Any, tmp_path: Path
) -> None:
    source = tmp_path / f"cut.{kind}"
    content = (files / f"cnn.{kind}").read_bytes()
    source.write_bytes(content[: len(content) // 2])
    np.save(tmp_path / "windows.npy", pictures[:100])
    before = sorted(tmp_path.rglob("*"))
    command = [
        *(sys.executable, "-m", "edgeml", "convert", str(source), "--spec", str(spec_file)),
        *("--calibration", str(tmp_path / "windows.npy"), "-o", str(tmp_path / "out.tflite")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 23
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("convert ")]
    assert len(lines) == 1
    assert lines[0].startswith("edgeml: ")
    assert sorted(tmp_path.rglob("*")) == before
