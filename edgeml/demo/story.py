"""The demonstration's plot: three processes, one murder, a recount.

A broker, an ingest and a device run as processes of their own. Part way
through, the broker is killed with SIGKILL and a moment later starts again with
empty memory. When the device has nothing left to deliver, its own log is held
against the store.
"""

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from operator import ge
from pathlib import Path
from typing import Final

from edgeml.bundle import Bundle
from edgeml.demo.devicelog import DeviceLog, progress_in
from edgeml.demo.outcome import Outcome
from edgeml.demo.processes import DemoError, child, wait_until
from edgeml.demo.stored import stored_answers
from edgeml.demo.tally import tally
from edgeml.errors import ConfigError, MissingDependencyError
from edgeml.fleet import localbroker
from edgeml.sensors.replay import Replay

DEVICE_ID: Final = "demo-device"
FLEET: Final = "demo"
START_TIMEOUT_S: Final = 120.0
RUN_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how hard.

    Attributes:
        bundle: the model.
        recordings: an NPZ with `recordings`, `labels` and `sample_rate_hz`.
        repeat: how often all recordings are played.
        rate_hz: recordings a second.
        kill_at: the share of the results after which the broker is killed.
        outage_s: how long it stays dead.
        broker: `mosquitto`, `embedded`, or `auto` for the first that is there.

    Raises:
        ConfigError: a number that cannot work.
    """

    bundle: Path
    recordings: Path
    repeat: int = 15
    rate_hz: float = 60.0
    kill_at: float = 0.35
    outage_s: float = 3.0
    broker: str = "auto"

    def __post_init__(self) -> None:
        for name, value, most in (
            ("repeat", self.repeat, 10_000),
            ("rate", self.rate_hz, 10_000),
            ("outage", self.outage_s, 3_600),
        ):
            if not 0 < value <= most:
                raise ConfigError(f"{name} is {value:g}; it should be above 0 and at most {most}")


@dataclass(frozen=True, slots=True)
class _Act:
    broker: str
    killed_s: float
    back_s: float


@contextlib.contextmanager
def shipped_files() -> Iterator[tuple[Path, Path]]:
    """The bundle and the recordings that come with this package."""
    data = resources.files("edgeml.demo") / "data"
    with (
        resources.as_file(data / "activity.tflite") as bundle,
        resources.as_file(data / "recordings.npz") as recordings,
    ):
        yield bundle, recordings


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run it all.

    Args:
        plan: what to run.
        folder: an empty folder for the outbox, the store and the logs.
        say: told of each step in one line.

    Raises:
        DemoError: a process ended early or hung; the message has its last words.
        MissingDependencyError: this machine has no broker; the message says what to install.
    """
    began_s = time.monotonic()
    bundle = Bundle.read(plan.bundle)
    start_s = float(int(time.time()))
    replay = Replay(plan.recordings, start_s=start_s, repeat=plan.repeat)
    if replay.labels is None:
        raise DemoError(f"{plan.recordings}: holds no labels, and the demo needs the truth")
    starts_s = replay.start_times_s(start_s)
    say(
        f"{bundle.manifest.name} v{bundle.manifest.version}, {bundle.size_bytes:,} bytes; "
        f"{len(replay.recordings)} recordings, played {plan.repeat} times"
    )
    act = _play(plan, folder, starts_s, say)
    log = DeviceLog.read(folder / "device.jsonl")
    truth = {s: replay.labels[i % len(replay.labels)] for i, s in enumerate(starts_s)}
    scores = bundle.manifest.quantisation
    return Outcome(
        tally=tally(log.answers, stored_answers(folder / "store.db", DEVICE_ID), truth),
        timeline=log.timeline,
        recordings=len(replay.recordings),
        killed_at_s=act.killed_s - log.began_s,
        outage_s=act.back_s - act.killed_s,
        outages=log.outages,
        seconds=time.monotonic() - began_s,
        times_us=tuple(answer.total_us for answer in log.answers),
        labels=bundle.manifest.outputs.labels,
        model=bundle.manifest.name,
        version=bundle.manifest.version,
        digest=bundle.sha256,
        bundle_bytes=bundle.size_bytes,
        score_float=scores.score_float if scores else None,
        score_quantised=scores.score_quantised if scores else None,
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        interpreter=log.interpreter,
        broker=act.broker,
    )


def _play(
    plan: Plan, folder: Path, starts_s: tuple[float, ...], say: Callable[[str], None]
) -> _Act:
    """Start the three processes, kill one of them, wait for the end."""
    log = folder / "device.jsonl"
    kill_after = max(1, int(len(starts_s) * plan.kill_at))
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(localbroker.LocalBroker(_broker_kind(plan.broker)))
        say(f"broker: {broker.kind.name}, port {broker.port}")
        where = ["--broker", broker.url, "--fleet", FLEET]
        ingest = ["-m", "edgeml", "fleet", "ingest", *where, "--store", str(folder / "store.db")]
        ingest += ["--reconnect-max-s", "0.5"]
        receiving = stack.enter_context(child(folder, "ingest", ingest))
        device = stack.enter_context(
            child(folder, "device", _device_arguments(plan, folder, starts_s, where))
        )
        say("ingest and device: started")
        wait_until(
            lambda: all(map(ge, progress_in(log), (kill_after, 1))),
            [device, receiving],
            START_TIMEOUT_S + len(starts_s) / plan.rate_hz,
            f"{kill_after} results, some of them delivered",
        )
        killed_s = time.time()
        broker.kill()
        say(f"broker: killed with SIGKILL after {progress_in(log)[0]} results")
        time.sleep(plan.outage_s)
        broker.start()
        back_s = time.time()
        say(f"broker: back after {back_s - killed_s:.1f} s, its memory empty")
        limit_s = RUN_TIMEOUT_S + len(starts_s) / plan.rate_hz
        wait_until(device.ended, [receiving], limit_s, "the device to deliver everything")
        say(f"device: done, {progress_in(log)[0]} results in its own log")
        name = broker.kind.name
    return _Act(name, killed_s, back_s)


def _broker_kind(wanted: str) -> localbroker.BrokerKind:
    if wanted == "embedded":
        return localbroker.embedded()
    if wanted == "mosquitto" and localbroker.find_mosquitto() is None:
        raise MissingDependencyError("no Mosquitto here; install it: sudo apt install mosquitto")
    return localbroker.available()


def _device_arguments(
    plan: Plan, folder: Path, starts_s: tuple[float, ...], where: list[str]
) -> list[str]:
    period_s = starts_s[1] - starts_s[0] if len(starts_s) > 1 else 1.0
    return [
        *("-m", "edgeml.demo.device_process"),
        *("--bundle", str(plan.bundle), "--recordings", str(plan.recordings)),
        *where,
        *("--device", DEVICE_ID, "--outbox", str(folder / "outbox.db")),
        *("--log", str(folder / "device.jsonl")),
        *("--start-s", repr(starts_s[0]), "--speed", repr(period_s * plan.rate_hz)),
        *("--repeat", str(plan.repeat)),
    ]
