"""Every command and every piece of Python in the README is run, as it stands there.

The two make targets are what `.ci/run` is made of; everything else runs here,
in a folder that looks like the checkout, with `broker.local` being a Mosquitto
on this machine.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeml.fleet.localbroker import LocalBroker, free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SHELL = [block for language, block in BLOCKS if language == "sh"]
PYTHON = [block for language, block in BLOCKS if language == "python"]
SERVERS = ("edgeml fleet ingest", "edgeml broker")
STARTED_S = 300.0

pytestmark = pytest.mark.workstation


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the checkout's folders in it, a home of its own, and a model to convert."""
    for name in ("models", "examples", "dist"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def _environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "HOME": str(place),
        "PATH": path,
        "EDGEML_STATE_DIR": str(place / "state"),
        "PIP_NO_COMPILE": "1",  # of what is installed here little is imported
    }


def _here(text: str, broker: LocalBroker) -> str:
    text = text.replace("broker.local", f"127.0.0.1:{broker.port}")
    return text.replace("1883", str(free_port()))


def _run(command: str, place: Path) -> None:
    done = subprocess.run(
        ["sh", "-e", "-c", command],
        cwd=place,
        env=_environment(place),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _serve(command: str, place: Path) -> None:
    """A server says where it listens or that it is online, and ends cleanly when asked to."""
    log = place / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=place,
            env=_environment(place),
            stdout=output,
            stderr=output,
        )
    give_up_s = time.monotonic() + STARTED_S
    while not re.search(rb"online|in memory", log.read_bytes()):
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < give_up_s, log.read_text()
        time.sleep(0.05)
    server.terminate()
    assert server.wait(STARTED_S) == 0, log.read_text()


def _make_model(place: Path) -> None:
    """What a person brings to `edgeml convert`: a trained model and windows."""
    import keras

    rng = np.random.default_rng(0)
    windows = rng.normal(size=(64, 20, 3)).astype(np.float32)
    model = keras.Sequential(
        [keras.layers.Input((20, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )
    model.save(place / "model.keras")
    np.savez(place / "windows.npz", windows=windows)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.splitlines()[0][:60])
def test_every_command_works(block: str, place: Path, broker: LocalBroker) -> None:
    commands = [line.strip() for line in block.splitlines() if line.strip()]
    if all(command.startswith("make ") for command in commands):
        in_ci = (ROOT / ".ci" / "run").read_text()
        assert all(command in in_ci for command in commands)
        return
    if "edgeml convert" in block:
        _make_model(place)
    if "--spec" in block and "--init" not in block:
        shutil.copy(ROOT / "examples" / "spec.toml", place)
    servers = [command for command in commands if command.startswith(SERVERS)]
    for command in servers:
        _serve(_here(command, broker), place)
    others = [_here(command, broker) for command in commands if command not in servers]
    if others:
        _run("\n".join(others), place)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.splitlines()[0][:60])
def test_every_piece_of_python_works(block: str, place: Path, broker: LocalBroker) -> None:
    if "Updates(" in block:
        _run("edgeml repo init updates", place)
    (place / "snippet.py").write_text(_here(block, broker))
    _run(f"{shutil.which('python', path=_environment(place)['PATH'])} snippet.py", place)


def test_the_readme_shows_a_picture_that_is_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize(
    "page",
    [
        *("README.md", "CONTRIBUTING.md", "docs/adr/README.md"),
        *("docs/device.md", "docs/updates.md", "docs/security.md"),
    ],
)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
