"""Hundreds of damaged or hostile sources: each one line of error, never a crash, hang or file."""

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgeml.errors import ConversionError
from edgeml_converters.sources import hdf5_probe

pytestmark = pytest.mark.slow

SEED = 9

# Opens every file it is given, asks it something, and prints one JSON line for each. One process
# for all of them: a crash ends it and the test.
OPENER = """
import json, sys, time
import numpy as np
from edgeml.errors import EdgeMLError
from edgeml_converters.sources import open_source
for path in sys.stdin.read().split("\\n"):
    started = time.process_time()
    try:
        model = open_source(path)
        model.predict(np.zeros((2, *model.input_shape), np.float32))
        said = "opened"
    except EdgeMLError as exc:
        said = f"refused: {exc}"
    except BaseException as exc:
        said = f"LEAKED {type(exc).__name__}: {exc}"
    print(json.dumps([path, said, time.process_time() - started]), flush=True)
"""


def mutants(content: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Truncated, with bytes changed, with a stretch of zeros, with a stretch taken out."""
    size = len(content)
    for i in range(count):
        changed = bytearray(content)
        at = int(rng.integers(0, size))
        if i % 4 == 0:
            yield content[:at]
        elif i % 4 == 1:
            for place in rng.integers(0, size, 40):
                changed[place] ^= int(rng.integers(1, 256))
            yield bytes(changed)
        elif i % 4 == 2:
            stretch = min(256, size - at)
            changed[at : at + stretch] = bytes(stretch)
            yield bytes(changed)
        else:
            del changed[at : at + 64]
            yield bytes(changed)


def keras_archive(config: Any, weights: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("model.weights.h5", weights)
    return raw.getvalue()


def dense(units: Any, shape: Any) -> dict[str, Any]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_shape": shape}},
                {"class_name": "Dense", "config": {"units": units}},
            ]
        },
    }


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


def hostile(folder: Path) -> Iterator[tuple[str, bytes]]:
    yield "empty.keras", b""
    yield "empty.h5", b""
    yield "pickle.keras", pickle.dumps(Exploit(folder / "owned"))
    yield "pickle.pkl", pickle.dumps(Exploit(folder / "owned"))
    yield "pickle.joblib", pickle.dumps(Exploit(folder / "owned"))
    yield "bomb.keras", keras_archive({}, bytes(200 << 20))
    yield "config.keras", keras_archive("not json")
    yield "deep.keras", keras_archive("[" * 100_000)
    yield "huge_units.keras", keras_archive(dense(1 << 40, [None, 8]))
    yield "huge_input.keras", keras_archive(dense(8, [None, 1 << 20, 1 << 20]))
    yield "negative.keras", keras_archive(dense(-3, [None, 8]))
    yield "words.keras", keras_archive(dense("many", [None, 8]))
    code = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}
    yield "lambda.keras", keras_archive({"class_name": "Sequential", "config": {"layers": [code]}})
    yield (
        "module.keras",
        keras_archive(
            {"module": "os", "class_name": "system", "config": f"touch {folder / 'owned'}"}
        ),
    )
    yield "wrong.h5", zipfile_of_nothing()
    yield "elf.keras", b"\x7fELF" + bytes(1000)
    yield "text.h5", b"weights, honestly" * 50
    yield "cut.onnx", b"\x08\x07"
    yield "longer.onnx", b"\x08\x07\x3a\xff\xff\xff\xff\x0f"
    yield "noise.onnx", np.random.default_rng(4).bytes(5000)
    yield "pickle.onnx", pickle.dumps(Exploit(folder / "owned"))
    yield "empty.pt2", b""
    yield "nothing.pt2", zipfile_of_nothing()
    yield "pickle.pt2", pickle.dumps(Exploit(folder / "owned"))
    yield "pickle.pt", pickle.dumps(Exploit(folder / "owned"))
    yield "pickle.pth", pickle.dumps(Exploit(folder / "owned"))
    yield "empty.tflite", b""
    yield "noise.tflite", b"\x20\x00\x00\x00TFL3" + np.random.default_rng(2).bytes(5000)
    yield "pickle.tflite", pickle.dumps(Exploit(folder / "owned"))
    yield "noise.h5", b"\x89HDF\r\n\x1a\n" + np.random.default_rng(1).bytes(5000)


def zipfile_of_nothing() -> bytes:
    raw = io.BytesIO()
    zipfile.ZipFile(raw, "w").close()
    return raw.getvalue()


@pytest.fixture(scope="module")
def outcomes(saved: Path, model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What opening said to each source, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(SEED)
    model.save(folder / "whole.h5")
    model.export(folder / "graph", verbose=False)
    sources = [("whole.keras", saved.read_bytes()), *hostile(folder)]
    originals = {
        "mutant{}.keras": saved.read_bytes(),
        "mutant{}.h5": (folder / "whole.h5").read_bytes(),
    }
    for name, content in originals.items():
        sources += [(name.format(i), bad) for i, bad in enumerate(mutants(content, 40, rng))]
    paths = [str(folder / "whole.h5")]
    for name, content in sources:
        (folder / name).write_bytes(content)
        paths.append(str(folder / name))
    paths += [str(place) for place in damaged_graphs(folder, rng)]
    paths.append(str(reaching_out(folder)))
    lambda_h5(folder / "lambda.h5")
    paths.append(str(folder / "lambda.h5"))
    done = subprocess.run(
        [sys.executable, "-c", OPENER],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(paths)
    assert not (folder / "owned").exists(), "a source executed code"
    assert max(seconds for _, _, seconds in rows[1:]) < 30
    return {Path(path).name: said for path, said, _ in rows}


def damaged_graphs(folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    """SavedModels whose graph, index of variables or variables are not what they were."""
    whole = folder / "graph"
    parts = {
        "saved_model.pb": 80,
        "variables/variables.index": 20,
        "variables/variables.data-00000-of-00001": 20,
    }
    for part, count in parts.items():
        for i, bad in enumerate(mutants((whole / part).read_bytes(), count, rng)):
            place = folder / f"graph_{Path(part).suffix[1:6]}_{i}"
            shutil.copytree(whole, place)
            (place / part).write_bytes(bad)
            yield place


def reaching_out(folder: Path) -> Path:
    """A SavedModel that writes a file whenever it answers."""
    import tensorflow as tf

    module = tf.Module()

    def serve(x: Any) -> Any:
        tf.io.write_file(str(folder / "owned"), "owned")
        return 2 * x

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    tf.saved_model.save(module, str(folder / "reaching"), signatures={"serve": module.serve})
    return folder / "reaching"


def lambda_h5(path: Path) -> None:
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda"}]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)


def test_the_files_that_were_left_whole_open(outcomes: dict[str, str]) -> None:
    assert outcomes["whole.h5"] == "opened"
    assert outcomes["whole.keras"] == "opened"


def test_hundreds_of_damaged_sources_are_refused_in_one_line_or_were_harmlessly_changed(
    outcomes: dict[str, str],
) -> None:
    assert len(outcomes) >= 220
    leaked = {name: said for name, said in outcomes.items() if said.startswith("LEAKED")}
    assert not leaked
    refused = [said for said in outcomes.values() if said.startswith("refused")]
    assert all("\n" not in said for said in refused)
    # A change in a weight, or in bytes that nobody reads, leaves a model that opens.
    assert len(refused) >= len(outcomes) / 2


def test_every_hostile_source_is_refused(outcomes: dict[str, str], tmp_path: Path) -> None:
    opened = [name for name, _ in hostile(tmp_path) if outcomes[name] == "opened"]
    assert not opened
    assert "unpack to" in outcomes["bomb.keras"]
    assert "Lambda" in outcomes["lambda.keras"]
    assert "Lambda" in outcomes["lambda.h5"]
    assert "WriteFile" in outcomes["reaching"]
    assert "units = 1099511627776" in outcomes["huge_units.keras"]


@pytest.fixture
def command(saved: Path, spec_file: Path, tmp_path: Path) -> Any:
    """Makes a process of `edgeml convert`, in whose worker `convert` is a line of Python."""
    windows, temporary = tmp_path / "train.npy", tmp_path / "temporary"
    np.save(windows, np.zeros((4, 20, 2), np.float32))
    temporary.mkdir()

    def start(instead: str, *options: str) -> "subprocess.Popen[str]":
        (tmp_path / "sitecustomize.py").write_text(
            "import os, pathlib, signal, sys, tempfile\n"
            "if any('edgeml_converters.guard' in word for word in sys.orig_argv):\n"
            "    import edgeml_converters.conversion as d\n"
            f"    def convert(*_, **__):\n        {instead}\n"
            "    d.convert = convert\n"
        )
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        given = ["--calibration", str(windows), "--spec", str(spec_file), *options]
        # Who runs the tests in the background may ignore Ctrl-C, and what is ignored is inherited.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "edgeml", "convert", str(saved), *given],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary)},
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)

    return start


def test_a_source_that_ends_its_process_is_an_error_of_the_caller_and_leaves_no_file(
    command: Any, tmp_path: Path
) -> None:
    """The worker is ended while it works, as a crash in native code would."""
    process = command("os.abort()", "-o", str(tmp_path / "out.tflite"))
    _, said = process.communicate(timeout=600)
    assert process.returncode == 23, said
    assert "SIGABRT" in said
    assert not (tmp_path / "out.tflite").exists()


def test_a_conversion_that_takes_too_long_is_ended(command: Any, tmp_path: Path) -> None:
    options = ("-o", str(tmp_path / "out.tflite"), "--limit-s", "0.05")
    process = command("signal.pause()", *options)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 23, said
    assert "longer than 0.05 s" in said
    assert not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_conversion_that_is_ended_from_outside_leaves_nothing_that_goes_on(
    number: signal.Signals, command: Any, tmp_path: Path
) -> None:
    """Nor a traceback; nor its temporary folders, where it can still clear them away."""
    work = "print(tempfile.mkdtemp(), flush=True); [signal.pause() for _ in iter(int, 1)]"
    process = command(work, "-o", str(tmp_path / "out.tflite"))
    assert process.stdout.readline().startswith(str(tmp_path / "temporary"))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)  # the worker holds the pipe while it lives
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -number)
    assert "Traceback" not in said
    assert not (tmp_path / "out.tflite").exists()
    if number != signal.SIGKILL:
        assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("kind", ["truncated.keras", "pickle.joblib", "graph"])
def test_a_hostile_source_of_the_command_is_one_line_and_leaves_no_file(
    kind: str, saved: Path, model: Any, spec_file: Path, tmp_path: Path
) -> None:
    source = tmp_path / kind
    if kind == "graph":
        model.export(source, verbose=False)
        (source / "saved_model.pb").write_bytes((source / "saved_model.pb").read_bytes()[:-500])
    else:
        exploit = pickle.dumps(Exploit(tmp_path / "owned"))
        source.write_bytes(exploit if "pickle" in kind else saved.read_bytes()[:-500])
    np.save(tmp_path / "train.npy", np.zeros((4, 20, 2), np.float32))
    before = sorted(tmp_path.rglob("*"))
    options = ["--calibration", str(tmp_path / "train.npy"), "--spec", str(spec_file)]
    command = [sys.executable, "-m", "edgeml", "convert", str(source), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 23
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("convert ")]
    assert len(lines) == 1
    assert lines[0].startswith("edgeml: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_loop_in_a_file_is_ended_by_the_time_that_it_computes(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the clock: on a busy machine a whole file would be taken for damaged."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('hdf5_probe' in word for word in sys.orig_argv):\n"
        "    import h5py\n"
        "    h5py.File = lambda *_: [None for _ in iter(int, 1)]\n"
    )
    monkeypatch.setattr(hdf5_probe, "LIMIT_S", 1)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(ConversionError, match="comes to no end in it"):
            hdf5_probe.probe(saved, "model.weights.h5")
