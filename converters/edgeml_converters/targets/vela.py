"""Arm's own compiler for the Ethos-U, asked for placement, memory and cycles.

Vela (the package ethos-u-vela) runs in a process of its own and writes a CSV of
one row; its figures are its own performance model's, for the system
configuration that the target names.
"""

import csv
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from edgeml_converters.targets.target import Estimate, EthosU, Target

_TIMEOUT_S: Final = 600
_CONFIG: Final = "Arm/vela.ini"
_PLACED: Final = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
_MISFIT: Final = re.compile(r"operator: (\w+), ofm: '([^']*)'")
_SHOWN: Final = 5
_KIB: Final = 1024


def ask_vela(target: Target, cost: EthosU, tflite: bytes) -> Estimate:
    """Vela's placement, memory and cycles for a file; why not, where it cannot say."""
    try:
        release = version("ethos-u-vela")
    except PackageNotFoundError:
        return Estimate(
            target.name,
            "none: Vela is not installed",
            command="pip install ethos-u-vela",
        )
    with tempfile.TemporaryDirectory(prefix="edgeml-vela-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(tflite)
        try:
            done = subprocess.run(
                _command(cost, folder),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Estimate(target.name, f"none: Vela {release} took over {_TIMEOUT_S} s")
        tables = sorted(folder.glob("out/*summary*.csv"))
        if done.returncode or not tables:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            return Estimate(
                target.name, f"none: Vela {release} refused the file ({said[-1][:200]})"
            )
        with tables[0].open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file))
    return Estimate(
        target.name,
        f"Vela {release}, {cost.accelerator}, {cost.system}, {cost.memory}",
        {**_figures(row), **_placement(done.stdout)},
        _remarks(done.stdout + done.stderr),
    )


def _command(cost: EthosU, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "ethosu.vela", str(folder / "model.tflite")),
        *("--accelerator-config", cost.accelerator, "--config", _CONFIG),
        *("--system-config", cost.system, "--memory-mode", cost.memory),
        *("--output-dir", str(folder / "out"), "--show-cpu-operations"),
    ]


def _placement(said: str) -> dict[str, float]:
    return {f"operators_on_{where.lower()}": int(count) for where, count in _PLACED.findall(said)}


def _figures(row: dict[str, str]) -> dict[str, float]:
    return {
        "cycles": float(row["cycles_total"]),
        "inference_ms": float(row["inference_time"]) * 1000,
        "sram_bytes": float(row["sram_memory_used"]) * _KIB,
        "dram_bytes": float(row["dram_memory_used"]) * _KIB,
        "flash_bytes": float(row["off_chip_flash_memory_used"]) * _KIB,
        "clock_hz": float(row["core_clock"]),
    }


def _remarks(said: str) -> tuple[str, ...]:
    found = [f"{name} of layer {layer!r} runs on the CPU" for name, layer in _MISFIT.findall(said)]
    more = len(found) - _SHOWN
    return (*found[:_SHOWN], *([f"and {more} operators more"] if more > 0 else []))
