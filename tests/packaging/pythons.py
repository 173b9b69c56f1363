"""Runs the device suite on every supported Python that this machine has, from the built wheel.

Each one gets an environment of its own under build/pythons with what a device
installs. Where tflite-runtime has a wheel (3.10 and 3.11), the suite also runs
on it, with numpy 1. Arguments choose: `3.10` for both, `3.10:device` for LiteRT alone;
folders among them (`3.13 tests/unit`) are the tests that run.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
WITH_TFLITE_RUNTIME = ("3.10", "3.11")
RUNTIMES = {"LiteRT": "device", "tflite-runtime": "tflite"}
ROOT = Path(__file__).resolve().parents[2]
WORKERS = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
MARKS = ["-m", "not workstation and not slow"]
TESTS = ["tests/unit", "tests/contract", "tests/integration"]


def interpreters() -> Iterator[tuple[str, str]]:
    """Each supported version with an interpreter that really starts."""
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}"), *_pyenv(version)]
        for candidate in filter(None, candidates):
            probe = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if probe.returncode == 0 and probe.stdout.strip() == version:
                yield version, candidate
                break
        else:
            print(f"Python {version}: not on this machine, not tested", flush=True)


def _pyenv(version: str) -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]


def suite(version: str, interpreter: str, requirements: str, tests: list[str]) -> bool:
    """Install and run the device suite in an environment of its own."""
    folder = ROOT / "build" / "pythons" / f"{version}-{requirements}"
    python = folder / "bin" / "python"
    stamp = folder / ".requirements"
    wanted = ROOT / "requirements" / f"{requirements}.txt"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*pip, "--require-hashes", "-r", str(wanted)], check=True)
        stamp.write_bytes(wanted.read_bytes())
    wheel = next((ROOT / "dist").glob("edgeml-*.whl"))
    subprocess.run([*pip, "--no-deps", "--no-index", "--force-reinstall", str(wheel)], check=True)
    print(f"== Python {version}, {requirements}", flush=True)
    run = subprocess.run(
        [str(folder / "bin" / "pytest"), "-q", *WORKERS, *MARKS, *tests],
        cwd=ROOT,
        check=False,
    )
    return run.returncode == 0


def main() -> int:
    """Run them all; exit 1 where one failed or there was none."""
    tests = [argument for argument in sys.argv[1:] if (ROOT / argument).exists()]
    only = [argument for argument in sys.argv[1:] if argument not in tests]
    outcomes: dict[str, bool] = {}
    for version, interpreter in interpreters():
        for title, requirements in RUNTIMES.items():
            named = not only or not {version, f"{version}:{requirements}"}.isdisjoint(only)
            if named and (requirements != "tflite" or version in WITH_TFLITE_RUNTIME):
                outcomes[f"{version} {title}"] = suite(
                    version, interpreter, requirements, tests or TESTS
                )
    for name, passed in outcomes.items():
        print(f"Python {name}: {'passed' if passed else 'FAILED'}")
    return 0 if outcomes and all(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
