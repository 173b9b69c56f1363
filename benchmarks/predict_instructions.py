"""What `Model.predict` executes above the bare interpreter on an emulated Raspberry Pi core.

Counts are exact, not times: 20 predictions more of each way, in instructions, from the
lab of `make arm` (`python tests/arm/lab.py setup arm64`). Each model gives one JSON line;
`share` is what `predict` adds, as a part of the bare inference.

    python benchmarks/predict_instructions.py [MODEL.tflite …] [--board arm64] [--core pi4]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
DEFAULT: Final = (
    *(
        ROOT / "tests" / "fixtures" / f"{name}.tflite"
        for name in ("identity_float", "logits_float")
    ),
    *(ROOT / "models" / name / f"{name}.tflite" for name in ("activity", "digits", "gait_anomaly")),
)
FEW: Final = 20
MORE: Final = 20


def lab(*words: str) -> str:
    """What the lab says on its standard output."""
    command = [sys.executable, str(ROOT / "tests" / "arm" / "lab.py"), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def instructions(board: str, core: str, way: str, model: Path) -> int:
    """One prediction: the difference of two runs."""
    guest = str(ROOT / "tests" / "arm" / "guest" / "predicts.py")
    few, many = (
        int(lab("count", board, "--core", core, "--", guest, way, str(n), str(model.resolve())))
        for n in (FEW, FEW + MORE)
    )
    return round((many - few) / MORE)


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--board", default="arm64")
    parser.add_argument("--core", default="pi4")
    arguments = parser.parse_args()
    wheel = max((ROOT / "dist").glob("edgeml-*.whl"), key=lambda path: path.stat().st_mtime)
    try:
        lab("run", arguments.board, "--wheel", str(wheel), "--", "-c", "import edgeml")
    except subprocess.CalledProcessError:
        print("nothing is counted: this machine has no lab; see make arm", file=sys.stderr)
        return
    for model in arguments.models or DEFAULT:
        bare, ours = (
            instructions(arguments.board, arguments.core, way, model) for way in ("bare", "predict")
        )
        line = {
            "model": model.stem,
            "core": f"{arguments.board} {arguments.core}",
            "predict": ours,
            "bare": bare,
            "overhead": ours - bare,
            "share": round((ours - bare) / bare, 4),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
