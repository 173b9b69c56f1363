"""An int8 model answers the same bits on a workstation and on both kinds of Raspberry Pi.

Each bundle of `models/` runs on its own golden windows: LiteRT on x86-64 (this
environment) and on arm64, tflite-runtime on armhf, and tflite-runtime on x86-64 where
an environment for it is at hand: the one that EDGEML_TFLITE_PYTHON names, or that of
`make pythons`.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from armlab import MACHINES, Machine, prepare, python

pytestmark = pytest.mark.arm

CHECKOUT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).parent / "guest"
REFERENCE_MODELS = ("activity", "digits", "gait_anomaly")
TEST_DATA = Path(os.environ.get("EDGEML_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
RANDOM_WINDOWS = 50

Outputs = Mapping[str, np.ndarray]


def run_guest(
    interpreter: Path, folder: Path, program: str, arguments: Sequence[str]
) -> tuple[str, Outputs]:
    """What a guest program printed under `interpreter`, and the arrays it left in `folder`."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(interpreter), str(GUEST / program), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, {path.stem: np.load(path) for path in folder.glob("*.npy")}


def golden_outputs(interpreter: Path, folder: Path, backend: str) -> Outputs:
    """What every reference bundle answers to its golden windows, by file name."""
    bundles = [str(path) for path in reference_bundles()]
    printed, outputs = run_guest(interpreter, folder, "golden_outputs.py", bundles)
    assert printed.split() == [backend] * len(bundles)
    return outputs


def reference_bundles() -> list[Path]:
    """The bundle of each reference model."""
    folders = [CHECKOUT / "models" / name for name in REFERENCE_MODELS]
    found = [path for folder in folders for path in sorted(folder.glob("*.tflite"))]
    assert [path.parent.name for path in found] == list(REFERENCE_MODELS)
    return found


def assert_identical(ours: Outputs, theirs: Outputs) -> None:
    """The same models, the same int8 tensors, bit by bit."""
    assert ours.keys() == theirs.keys()
    for name, expected in ours.items():
        assert expected.dtype == np.int8, name
        assert len(expected) > 0, name
        different = int((expected != theirs[name]).any(axis=tuple(range(1, expected.ndim))).sum())
        assert different == 0, f"{name}: {different} of {len(expected)} windows differ"


@pytest.fixture(scope="module")
def on_workstation(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """The golden outputs of LiteRT on this x86-64 machine."""
    folder = tmp_path_factory.mktemp("x86-64") / "litert"
    return golden_outputs(Path(sys.executable), folder, "litert")


@pytest.mark.parametrize(("name", "backend"), [("arm64", "litert"), ("armhf", "tflite")])
def test_reference_models_answer_the_same_bits_on_a_raspberry_pi(
    name: str,
    backend: str,
    on_workstation: Outputs,
    machines_with_edgeml: tuple[Machine, ...],
    tmp_path: Path,
) -> None:
    """Every golden window of all three models, across processors and interpreters."""
    machine = MACHINES[name]
    assert machine in machines_with_edgeml
    assert_identical(on_workstation, golden_outputs(python(machine), tmp_path / name, backend))


def test_reference_models_answer_the_same_bits_on_both_interpreters_of_a_workstation(
    on_workstation: Outputs, tmp_path: Path
) -> None:
    """tflite-runtime against LiteRT, both on x86-64."""
    default = CHECKOUT / "build" / "pythons" / "3.11-tflite" / "bin" / "python"
    other = Path(os.environ.get("EDGEML_TFLITE_PYTHON", default))
    if not other.exists():
        pytest.skip(
            f"{other} is not there: `make pythons` builds it, EDGEML_TFLITE_PYTHON names it"
        )
    assert_identical(on_workstation, golden_outputs(other, tmp_path / "tflite", "tflite"))


def test_larger_networks_answer_the_same_bits_under_litert_on_both_processors(
    tmp_path: Path,
) -> None:
    """The four MLPerf Tiny networks on random input: LiteRT on x86-64 and on arm64."""
    models = [str(path) for path in sorted(TEST_DATA.glob("mlperf_tiny/*int8_reference.tflite"))]
    if not models:
        pytest.skip(f"{TEST_DATA} has no mlperf_tiny: EDGEML_TEST_DATA names another folder")
    arguments = [str(RANDOM_WINDOWS), *models]
    prepare(MACHINES["arm64"])
    _, x86 = run_guest(Path(sys.executable), tmp_path / "x86-64", "raw_outputs.py", arguments)
    _, arm = run_guest(python(MACHINES["arm64"]), tmp_path / "arm64", "raw_outputs.py", arguments)
    assert_identical(x86, arm)
