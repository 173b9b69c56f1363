"""A publisher's command that is killed changed nothing that a device reads, or all of it.

`edgeml repo` runs as a process and gets SIGKILL at a moment that the seed gives. After each
death the whole repository is verified as a device would, and the command is repeated. A rotation
of online keys is the one that may need `refresh --all` in between, and says so.
EDGEML_FAULT_RUNS says how many times (10), EDGEML_FAULT_SEED the first seed (0).
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeml.bundle import Bundle, pack
from edgeml.errors import TrustError
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.repository import Repository

pytestmark = pytest.mark.faults

ACTIVITY = Path(__file__).resolve().parents[2] / "models" / "activity" / "activity.tflite"
RUNS = int(os.environ.get("EDGEML_FAULT_RUNS", "10"))
FIRST_SEED = int(os.environ.get("EDGEML_FAULT_SEED", "0"))
LONGEST_S = 1.5


def _start(repository: Repository, command: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeml", "repo", command, str(repository.folder.root), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
def test_a_killed_command_leaves_a_repository_that_devices_accept(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    repository = Repository(tmp_path / "repo")
    repository.create()
    repository.release([ACTIVITY])
    bundle = Bundle.read(ACTIVITY)
    path = tmp_path / "new.tflite"
    manifest = bundle.manifest.replace(version=2, description="x" * rng.randrange(1000))
    path.write_bytes(pack(bundle.tflite, manifest, bundle.golden, bundle.baseline))
    role = rng.choice(("root", "targets", "snapshot", "timestamp", "rollout"))
    commands = [
        ("release", str(path)),
        ("rollout", "activity-2", "--percent", "10"),
        ("rotate", role),
        ("refresh", "--all"),
    ]
    for command in commands:
        for _ in range(3):
            process = _start(repository, *command)
            time.sleep(rng.uniform(0.2, LONGEST_S))
            process.kill()
            _, said = process.communicate()
            _accepted(repository, mended=command[0] == "rotate")
            if process.returncode == 0 or b"was released already" in said:
                break
        else:
            done = _start(repository, *command)
            _, said = done.communicate()
            assert done.returncode == 0 or b"was released already" in said, said
    ledger = Ledger.read(repository.folder)
    ledger.verify(time.time())
    assert list(contents.releases(ledger)) == ["activity-1", "activity-2"]
    assert contents.rules(ledger)["default", "activity"].upto == 1000


def _accepted(repository: Repository, *, mended: bool) -> None:
    complaint = _complaint(repository)
    if complaint and mended:
        assert "refresh --all" in complaint
        repository.refresh(everything=True)
        complaint = _complaint(repository)
    assert complaint == ""


def _complaint(repository: Repository) -> str:
    """Why no device would accept it; empty where every one would."""
    try:
        Ledger.read(repository.folder).verify(time.time())
    except TrustError as exc:
        return str(exc)
    return ""
