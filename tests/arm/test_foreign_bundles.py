"""What `make sources` made of a PyTorch CNN, and of files of it, on an emulated Raspberry Pi."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from armlab import MACHINES, install_wheel, prepare, python
from armlab.suite import newest_wheel

pytestmark = pytest.mark.arm

CHECKOUT = Path(__file__).resolve().parents[2]
BUNDLES = CHECKOUT / "build" / "sources" / "bundles"
KINDS = ("module", "pt2", "onnx")
ANSWER = """
import sys
import numpy as np
from edgeml import Model
held = np.load(sys.argv[2])
with Model.load(sys.argv[1]) as model:
    made = np.stack([np.ravel(model.run_raw(window)) for window in held["windows"]])
print(np.abs(made - held["torch"]).max())
"""


@pytest.fixture(scope="module")
def board() -> Path:
    machine = MACHINES["arm64"]
    prepare(machine)
    install_wheel(machine, newest_wheel(CHECKOUT))
    return python(machine)


def said_by(board: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(board), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_file_passes_its_golden_test_and_answers_as_pytorch_did(
    kind: str, board: Path
) -> None:
    """PyTorch's answers lie beside the bundles, with the windows."""
    bundle = BUNDLES / f"cnn_{kind}.tflite"
    if not bundle.is_file():
        pytest.skip("make sources makes the bundle")
    told = json.loads(said_by(board, "-m", "edgeml", "verify", str(bundle), "--json"))
    assert told["ok"] is True
    assert told["golden"]["passed"] is True
    apart = float(said_by(board, "-c", ANSWER, str(bundle), str(BUNDLES / "torch.npz")))
    assert np.isfinite(apart)
    assert apart <= 1e-4
