"""Runs theupdateframework/tuf-conformance against the device's trust code; `make conformance`.

The suite is fetched at a commit that is written here and never kept in this
repository: by git from where it is developed, or from a clone that
EDGEML_TUF_CONFORMANCE names, for machines without a way there. Needs Python
3.11 or later, git and faketime.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

COMMIT: Final = "eec841c186f81f2d9d8d30460c7e7deefa615f9e"
ORIGIN: Final = "https://github.com/theupdateframework/tuf-conformance"
ROOT: Final = Path(__file__).resolve().parents[2]
PLACE: Final = ROOT / "build" / "conformance"
PASSED_AT_LEAST: Final = 100
"""So that a suite that collects next to nothing is no success."""


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def fetched() -> Path:
    """The suite at its commit; git checks that the files are those of its hash."""
    origin = os.environ.get("EDGEML_TUF_CONFORMANCE", ORIGIN)
    place = PLACE / COMMIT
    if not (place / "tuf_conformance").exists():
        shutil.rmtree(place, ignore_errors=True)
        repository = PLACE / "repository"
        shutil.rmtree(repository, ignore_errors=True)
        _git("init", "--quiet", "--bare", str(repository))
        try:
            _git("-C", str(repository), "fetch", "--quiet", "--depth=1", origin, COMMIT)
        except subprocess.CalledProcessError:
            sys.exit(
                f"the suite's commit {COMMIT[:12]} cannot be fetched from {origin}; clone {ORIGIN} "
                "elsewhere, carry it here, and say where: EDGEML_TUF_CONFORMANCE=PATH make "
                "conformance"
            )
        place.mkdir(parents=True)
        _git(f"--git-dir={repository}", f"--work-tree={place}", "checkout", "--quiet", COMMIT, ".")
    return place


def main() -> int:
    """Fetch it, run it, and tell by its exit status how it went."""
    if tuple(map(int, platform.python_version_tuple()[:2])) < (3, 11):
        sys.exit("the suite itself needs Python 3.11 or later; the device's code does not")
    if shutil.which("faketime") is None:
        sys.exit("the suite needs faketime; install it: sudo apt-get install faketime")
    suite = fetched()
    client = f"{sys.executable} {Path(__file__).with_name('client.py')}"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tuf_conformance"),
        *("--rootdir", str(suite), "-c", str(suite / "pyproject.toml"), "--entrypoint", client),
        *sys.argv[1:],
    ]
    done = subprocess.run(
        command, cwd=suite, env=os.environ | {"PYTHONPATH": str(suite)}, text=True,
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    print(done.stdout)
    passed = re.search(r"(\d+) passed", done.stdout)
    enough = len(sys.argv) > 1 or (passed is not None and int(passed[1]) >= PASSED_AT_LEAST)
    return done.returncode if enough else done.returncode or 1


if __name__ == "__main__":
    sys.exit(main())
