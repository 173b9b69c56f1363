"""Tries what edgeml asks of child processes, on the machine it runs on; prints one JSON object."""

import json
import multiprocessing
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_WAIT_S = 120.0


def machine_of(queue: "multiprocessing.Queue[str]") -> None:
    """Tell the parent where this child runs."""
    queue.put(platform.machine())


def main() -> None:
    """Start children in every way that the device, the demo and the tests do."""
    ask = "import platform; print(platform.machine())"
    report = {
        "executable": sys.executable,
        "machine": platform.machine(),
        "subprocess": _said_by([sys.executable, "-c", ask], None),
        "empty environment": _said_by([sys.executable, "-c", ask], {}),
        "isolated": _said_by([sys.executable, "-I", "-c", ask], {}),
        "host shell": _said_by(["/bin/sh", "-c", "uname -m"], None),
        "spawn": _spawned(),
        "killed": _killed(),
        "thread": _threaded(),
        "temporary file": _temporary(),
    }
    print(json.dumps(report))


def _said_by(command: list[str], environment: dict[str, str] | None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


def _spawned() -> str:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=machine_of, args=(queue,))
    process.start()
    answer = queue.get(timeout=_WAIT_S)
    process.join(_WAIT_S)
    return answer


def _killed() -> int:
    wait = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        return child.wait(_WAIT_S)


def _threaded() -> str:
    heard: list[str] = []
    thread = threading.Thread(target=lambda: heard.append(platform.machine()))
    thread.start()
    thread.join(_WAIT_S)
    return heard[0]


def _temporary() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note"
        path.write_text("kept", encoding="utf-8")
        return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
