"""Makes build/sources/own: a workstation's packages and PyTorch, as a PyTorch user has them.

The packages are those of the environment that runs this, by a .pth file; only
what is missing there is installed. Beside it, and at the same time because that
is waiting for a network most of all, the converter makes its own environments.
"""

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeml_converters.environments.recipes import TORCH_PIN

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = CHECKOUT / "build" / "sources"
FOLDER = SOURCES / "own"


def main() -> None:
    """Make them, or mend what a killed run left."""
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(make_own), pool.submit(make_ready, sys.executable, "ONNX")]
        for job in jobs:
            job.result()


def make_own() -> None:
    """A user's environment, then the converter's for PyTorch, which holds the user's own."""
    python = FOLDER / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    site = next(iter(FOLDER.glob("lib/python*/site-packages")))
    (site / "workstation.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install.append("--no-compile")
    cpu = subprocess.run([*install, f"torch=={TORCH_PIN}+cpu"], check=False, capture_output=True)
    if cpu.returncode:
        subprocess.run([*install, f"torch=={TORCH_PIN}"], check=True)
    lock = CHECKOUT / "requirements" / "sources.txt"
    subprocess.run([*install, "--require-hashes", "--no-deps", "-r", str(lock)], check=True)
    make_ready(str(python), "TORCH")


def make_ready(python: str, recipe: str) -> None:
    """One of the converter's environments, as the first conversion would make it."""
    code = f"from edgeml_converters.environments import {recipe} as recipe, ready; ready(recipe)"
    cache = {"EDGEML_CACHE": str(SOURCES / "cache")}
    subprocess.run([python, "-c", code], check=True, env={**os.environ, **cache})


if __name__ == "__main__":
    main()
