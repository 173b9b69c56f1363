"""From the start of Python to a first result: edgeml beside a bare script, process by process.

The peer imports numpy and the interpreter, opens the model, quantises a window
of zeros and runs it. Starts alternate; the model is a bundle or a plain file.
Prints one JSON line: medians and their ratio in wall-clock time and in CPU time
(which other work on the machine disturbs less), and the resident memory of each.

    python benchmarks/cold_start.py [MODEL.tflite] [--starts 21]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from edgeml.runtime.backend import BACKENDS, choose

DEFAULT = Path(__file__).parent.parent / "models" / "activity" / "activity.tflite"

RSS = """
import re
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], flush=True)
"""

BARE = """
import sys
import tempfile
import numpy as np
from {package}.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
x = np.zeros(given["shape"], np.float32)
scale, zero = given["quantization"]
if scale:
    limits = np.iinfo(given["dtype"])
    x = np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(given["dtype"])
interpreter.set_tensor(given["index"], x)
interpreter.invoke()
y = interpreter.get_tensor(made["index"])
"""

OURS = """
import sys
import tempfile
import numpy as np
from edgeml import Model

model = Model.load(sys.argv[1])
result = model.predict(np.zeros(model.manifest.inputs.shape, np.float32))
"""


def start(script: str, model: Path) -> tuple[float, float, float]:
    """Milliseconds until the script's result, its CPU time, and its peak memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", script + RSS, str(model.absolute())],
        cwd=tempfile.gettempdir(),  # `-c` imports from its folder first: not the checkout, but
        # the wheel, whose byte code was compiled when it was installed
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        took = (perf_counter() - begin) * 1e3
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu * 1e3, int(line) / 1024


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--starts", type=int, default=21)
    arguments = parser.parse_args()
    bare = BARE.format(package=BACKENDS[choose()].package)
    for script in (bare, OURS):  # the page cache is warm for both
        start(script, arguments.model)
    columns: dict[str, list[tuple[float, float, float]]] = {"bare": [], "edgeml": []}
    for _ in range(arguments.starts):
        columns["bare"].append(start(bare, arguments.model))
        columns["edgeml"].append(start(OURS, arguments.model))
    (bare_ms, bare_cpu, bare_mb), (ours_ms, ours_cpu, ours_mb) = (
        tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for rows in columns.values()
    )
    report = {
        "model": arguments.model.stem,
        "edgeml_ms": round(ours_ms, 1),
        "bare_ms": round(bare_ms, 1),
        "ratio": round(ours_ms / bare_ms, 3),
        "edgeml_cpu_ms": round(ours_cpu, 1),
        "bare_cpu_ms": round(bare_cpu, 1),
        "cpu_ratio": round(ours_cpu / bare_cpu, 3),
        "edgeml_rss_mb": round(ours_mb, 1),
        "bare_rss_mb": round(bare_mb, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
