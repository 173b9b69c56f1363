"""ARM instructions of one inference, counted on an emulated core where the ARM lab is there.

The lab comes with edgeml's repository, not with this wheel: EDGEML_ARM_LAB names
its command, `tests/arm/lab.py` of a checkout. A count is exact: it is the same
however busy the workstation is.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgeml_converters.targets.target import ArmCore, Estimate, Target

VARIABLE: Final = "EDGEML_ARM_LAB"
_TIMEOUT_S: Final = 1800


def count_on_core(
    target: Target, core: ArmCore, files: Mapping[str, bytes]
) -> Mapping[str, Estimate]:
    """Instructions that one inference of each file takes; why not, where nobody can count."""
    lab = os.environ.get(VARIABLE)
    if not lab:
        reason = f"none: no emulated core; set {VARIABLE} to a checkout's tests/arm/lab.py"
        return _without(target, files, reason)
    with tempfile.TemporaryDirectory(prefix="edgeml-count-") as name:
        paths = {label: Path(name) / f"{i}.tflite" for i, label in enumerate(files)}
        for label, path in paths.items():
            path.write_bytes(files[label])
        command = [sys.executable, lab, "cost", core.machine, "--core", core.core]
        try:
            done = subprocess.run(
                [*command, *map(str, paths.values())],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return _without(target, files, f"none: the ARM lab gave no count ({exc})")
        counts = _read(done.stdout)
        if done.returncode or set(counts) != set(map(str, paths.values())):
            said = done.stderr.strip().splitlines() or ["no message"]
            return _without(target, files, f"none: the ARM lab gave no count ({said[-1][:200]})")
    source = f"exact count on an emulated {core.stands_for}, one thread"
    remarks = (target.note,) if target.note else ()
    return {
        label: Estimate(target.name, source, {"instructions": counts[str(path)]}, remarks)
        for label, path in paths.items()
    }


def _read(printed: str) -> dict[str, Any]:
    try:
        counts = json.loads(printed)
    except ValueError:
        return {}
    return counts if isinstance(counts, dict) else {}


def _without(target: Target, files: Mapping[str, bytes], why: str) -> Mapping[str, Estimate]:
    remarks = (target.note,) if target.note else ()
    return {label: Estimate(target.name, why, remarks=remarks) for label in files}
