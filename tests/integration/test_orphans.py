"""A device that is killed leaves no process behind that would go on writing in its folders."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.waiting import until

_CHILD: Final = """
import os, pathlib, sys, time
from edgeml.{package} import {module} as real
{busy}
sys.exit(real.main(sys.argv[1:]))
"""
_BUSY: Final = """
def busy(*_):
    pathlib.Path("child.pid").write_text(f"{os.getpid()} ")
    time.sleep(600)
"""
_TRUST: Final = _CHILD.format(
    package="ota", module="trustchild", busy=_BUSY + "real._carry_out = busy"
)
_PROBE: Final = _CHILD.format(
    package="runtime",
    module="probechild",
    busy=_BUSY + "from edgeml.runtime import probetasks\nprobetasks.TASKS['verify'] = busy",
)

_ASK_TRUST: Final = """
from edgeml.ota import trustprocess
trustprocess.CHILD = "child"
trust = trustprocess.TrustProcess(pathlib.Path("trust"), b'{"signed": {"_type": "root"}}')
ask = lambda: trust.check(lambda name: None, "default", (), 0.0, 0.0)
"""
_ASK_PROBE: Final = """
from edgeml.runtime import probe
probe.CHILD = "child"
ask = lambda: probe.run_child(
    "verify", {"path": "x", "cpu_s": 60, "memory_mb": 512}, timeout_s=600.0
)
"""
_IS_KILLED: Final = "import pathlib\n{}\nask()"
_ENDS: Final = """
import pathlib, threading, time
{}
threading.Thread(target=ask, daemon=True).start()
while not (pathlib.Path("child.pid").exists() and pathlib.Path("child.pid").read_text()):
    time.sleep(0.01)
"""


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def _child_of(folder: Path) -> int:
    said = folder / "child.pid"
    until(lambda: said.exists() and said.read_text() != "", 60.0)
    return int(said.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="no other system ends a child so")
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ends beside it"])
@pytest.mark.parametrize(
    ("child", "ask"), [(_TRUST, _ASK_TRUST), (_PROBE, _ASK_PROBE)], ids=["trust", "probe"]
)
def test_what_a_device_asked_for_ends_with_it(
    tmp_path: Path, child: str, ask: str, killed: bool
) -> None:
    (tmp_path / "child.py").write_text(child)
    program = (_IS_KILLED if killed else _ENDS).format(ask)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment) as device:
        pid = _child_of(tmp_path)
        if killed:
            assert _lives(pid)
            device.kill()
        status = device.wait(60)
    assert status == (-9 if killed else 0)
    until(lambda: not _lives(pid), 10.0)
