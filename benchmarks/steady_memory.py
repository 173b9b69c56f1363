"""What a device with delivery and updates holds in memory, beside a bare script.

The peer has numpy and the interpreter, the model and one inference. The device is a process
of its own: windows at a rate, results through the outbox to a broker that is another process,
updates by TUF over the same broker, looked for every few seconds. Both are read once they are
steady: after the warm-up the device has checked for updates and delivered often. Prints one
JSON line: resident memory of each, and of devices with less; 1 where the bound does not hold.

    python benchmarks/steady_memory.py [--seconds 30] [--rate-hz 20]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.repo.publish import Outgoing, Record
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.seed import Seeder
from edgeml.runtime.backend import BACKENDS, choose
from edgeml.sync.connection import Connection

ACTIVITY: Final = Path(__file__).parent.parent / "models" / "activity" / "activity.tflite"
FLEET: Final = "plant"
MOST_MB: Final = 25.0
CHECK_S: Final = 5.0

BARE = """
import numpy as np
from {package}.interpreter import Interpreter

interpreter = Interpreter(model_path={model!r}, num_threads=1)
interpreter.allocate_tensors()
given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
for _ in range(1000):
    interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    interpreter.invoke()
    y = interpreter.get_tensor(made["index"])
print(flush=True)
input()
"""

DEVICE = """
import sys
import time
import numpy as np
from edgeml import Device, Mqtt, Updates
from edgeml.sensors.sample import Window

def windows(rate_hz=float({rate_hz})):
    data = np.ones((100, 6), np.float32)
    while True:
        time.sleep(1 / rate_hz)
        now_s = time.time()
        yield Window(now_s, now_s, data)

sync = Mqtt({broker!r}, fleet={fleet!r}, outbox={state!r} + "/outbox.db", ack="broker")
updates = Updates(root={root!r}, state={state!r} + "/updates", check_interval_s={check_s})
asked = {{name: value for name, value in (("sync", sync), ("updates", updates)) if name in {parts}}}
if "updates" in asked and "sync" not in asked:
    asked["updates"] = Updates(root={root!r}, state={state!r} + "/updates", folder={state!r})
with Device("pump-7", model={model!r}, **asked) as device:
    print(flush=True)
    for _ in device.run(windows()):
        pass
"""


def publish(place: Path, broker: str) -> bytes:
    """A publisher's repository whose files are at the broker; its first root."""
    repository = Repository(place / "repo")
    repository.create()
    with repository.open() as ledger:
        seeder = Seeder(Connection(broker), FLEET)
        seeder.publish(Outgoing(ledger, time.time()), Record.of(repository.folder, broker, FLEET))
        seeder.close()
    return (place / "repo" / "metadata" / "1.root.json").read_bytes()


def steady(script: str, seconds: float) -> dict[str, float]:
    """Resident memory of a script's process from when it says a line: medians in MiB."""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tempfile.gettempdir()
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            read: list[dict[str, float]] = []
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                time.sleep(0.25)
                read.append(resident(child.pid))
        finally:
            child.kill()
    settled = read[len(read) // 2 :]
    return {key: statistics.median(each[key] for each in settled) for key in settled[0]}


def resident(pid: int) -> dict[str, float]:
    """What a process holds, and what of it is its own and not a file's, in MiB."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {key: int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon")}


def measure(seconds: float, rate_hz: float) -> dict[str, Any]:
    """The bare script, and devices with more and more."""
    model = str(ACTIVITY.resolve())
    figures: dict[str, Any] = {"seconds": seconds, "rate_hz": rate_hz}
    with LocalBroker() as broker, tempfile.TemporaryDirectory() as home:
        (Path(home) / "root.json").write_bytes(publish(Path(home), broker.url))
        bare = steady(BARE.format(package=BACKENDS[choose()].package, model=model), 3.0)
        figures["bare_rss_mb"] = round(bare["VmRSS"], 1)
        for parts in ([], ["sync"], ["sync", "updates"]):
            state = Path(home) / "-".join(["state", *parts])
            state.mkdir()
            script = DEVICE.format(
                broker=broker.url,
                fleet=FLEET,
                state=str(state),
                root=str(Path(home) / "root.json"),
                model=model,
                check_s=CHECK_S,
                parts=parts,
                rate_hz=rate_hz,
            )
            held = steady(script, seconds)
            name = "_".join(["device", *parts])
            figures[f"{name}_rss_mb"] = round(held["VmRSS"], 1)
            figures[f"{name}_above_mb"] = round(held["VmRSS"] - bare["VmRSS"], 1)
            figures[f"{name}_anon_above_mb"] = round(held["RssAnon"] - bare["RssAnon"], 1)
    return figures


def main() -> int:
    """Print the figures; 1 where the bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate-hz", type=float, default=20.0)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.rate_hz)
    print(json.dumps({**figures, "allowed_above_mb": MOST_MB}))
    return 1 if figures["device_sync_updates_above_mb"] > MOST_MB else 0


if __name__ == "__main__":
    sys.exit(main())
