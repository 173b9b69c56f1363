"""Loading an interpreter changes nothing about the arithmetic of the rest of the program."""

import subprocess
import sys
from pathlib import Path

FIXTURE = Path(__file__).parents[1] / "fixtures" / "identity_float.tflite"


def test_numbers_too_small_for_fast_math_survive_an_interpreter() -> None:
    code = (
        "import sys, threading; from edgeml import Model\n"
        f"Model.load({str(FIXTURE)!r}).warm_up()\n"
        "def show(): print(sys.float_info.min / 2 > 0)\n"
        "show(); thread = threading.Thread(target=show); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
