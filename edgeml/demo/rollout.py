"""The demonstration's second act: a release that reaches everybody, and one that is undone.

A publisher signs version 2 and lets it in by stages; every device takes it
while it infers. Then comes version 3, which is bad in a way that no test at
home finds. One device takes it, sees that its answers are worth nothing, and
goes back by itself; the rollout halts, and nobody else ever gets it. The
publisher's commands are the ones that anybody would type.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from edgeml.bundle import Bundle, write_bundle
from edgeml.demo import releases
from edgeml.demo.fleetlog import FleetLog
from edgeml.demo.processes import Child, DemoError, child, wait_until
from edgeml.errors import UpdateError
from edgeml.fleet.localbroker import LocalBroker, available
from edgeml.releases.names import release_id
from edgeml.releases.rollout import BUCKETS, bucket_of

FLEET: Final = "demo"
FIRST_PERCENT: Final = 10
RATE_HZ: Final = 20.0
LIMIT_S: Final = 900.0
"""Generous, because an emulated processor takes minutes for what a Pi does in seconds."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the rollout said at one moment of the wall clock."""

    time_s: float
    said: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the act went.

    Attributes:
        devices: their names, the one that is let in first in front.
        first: the version that they were made with.
        log: what happened on them.
        stages: what each of the two rollouts said, the good release's first.
        halted: why the bad one was halted.
        seconds: the whole act.
    """

    devices: tuple[str, ...]
    first: int
    log: FleetLog
    stages: tuple[tuple[Stage, ...], tuple[Stage, ...]]
    halted: str
    seconds: float

    @property
    def updated(self) -> int:
        """Devices that run the good release in the end."""
        return sum(v == self.first + 1 for v in self.log.last_versions().values())

    @property
    def reached(self) -> int:
        """Devices that ever ran the bad one."""
        return len(self.log.that_ran(self.first + 2))

    @property
    def complete(self) -> bool:
        """Everybody runs the good release, and the bad one was undone where it got to."""
        return self.updated == len(self.devices) and self.reached == 1 and bool(self.halted)

    def summary(self) -> dict[str, float | bool]:
        """The act in the demonstration's JSON object."""
        return {
            "devices": len(self.devices),
            "updated": self.updated,
            "reached_by_bad": self.reached,
            "halted": bool(self.halted),
            "seconds": round(self.seconds, 2),
        }


def run(
    bundle: Path, recordings: Path, devices: int, folder: Path, say: Callable[[str], None]
) -> Rollout:
    """Play the act.

    Args:
        bundle: the model that the devices were made with.
        recordings: what they hear.
        devices: how many there are.
        folder: an empty folder for the repository, the devices' state and the logs.
        say: told of each step in one line.

    Raises:
        DemoError: a process failed or hung, or a rollout ended in another way than it should.
    """
    began_s = time.monotonic()
    made = Bundle.read(bundle)
    first, model = made.manifest.version, made.manifest.name
    good, bad = release_id(model, first + 1), release_id(model, first + 2)
    names = _names(devices, (good, bad))
    write_bundle(folder / f"{good}.tflite", releases.good(made, first + 1))
    write_bundle(folder / f"{bad}.tflite", releases.wrong_unit(made, first + 2))
    repo = folder / "repo"
    _edgeml("repo", "init", str(repo))
    log = folder / "fleet.jsonl"
    with ExitStack() as stack:
        broker = stack.enter_context(LocalBroker(available()))
        arguments = [
            *("-m", "edgeml.demo.fleet_process", "--bundle", str(bundle)),
            *("--recordings", str(recordings), "--broker", broker.url, "--fleet", FLEET),
            *("--root", str(repo / "metadata" / "1.root.json"), "--folder", str(folder)),
            *("--log", str(log), "--rate", str(RATE_HZ), *names),
        ]
        fleet = stack.enter_context(child(folder, "fleet", arguments))

        def wait_for(version: int, what: str) -> None:
            wait_until(lambda: FleetLog.read(log).run(version, names), [fleet], LIMIT_S, what)

        def lead(release: str) -> tuple[tuple[Stage, ...], str | None]:
            _edgeml("repo", "release", str(repo), str(folder / f"{release}.tflite"))
            return _lead(release, folder, broker, fleet, say)

        wait_for(first, "every device to infer")
        say(f"{devices} devices: each runs {release_id(model, first)}")
        stages, done = lead(good)
        if done is not None:
            raise DemoError(f"{good} was halted ({done})")
        wait_for(first + 1, f"every device to run {good}")
        bad_stages, ending = lead(bad)
        wait_for(first + 1, f"the first device to go back to {good}")
        fleet.stop()
    if ending is None:
        raise DemoError(f"{bad} was not halted")
    say(f"{devices} devices: each runs {good}")
    return Rollout(
        names, first, FleetLog.read(log), (stages, bad_stages), ending, time.monotonic() - began_s
    )


def _names(number: int, release_ids: tuple[str, str]) -> tuple[str, ...]:
    """Device ids of which exactly one is among the first of both releases: it leads.

    Whom a stage reaches follows from the ids alone; a fleet of thousands has its share in each.
    """
    border = BUCKETS * FIRST_PERCENT // 100
    leader = ""
    others: list[str] = []
    for n in count(1):
        name = f"pump-{n}"
        within = [bucket_of(release, name) < border for release in release_ids]
        if all(within) and not leader:
            leader = name
        elif not any(within) and len(others) < number - 1:
            others.append(name)
        if leader and len(others) == number - 1:
            break
    return (leader, *others)


def _edgeml(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeml", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"edgeml {' '.join(arguments[:2])} failed: {done.stderr.strip()}")


def _lead(
    release: str, folder: Path, broker: LocalBroker, fleet: Child, say: Callable[[str], None]
) -> tuple[tuple[Stage, ...], str | None]:
    """Lead a rollout to its end; what it said, and why it was halted, if it was."""
    stages: list[Stage] = []
    command = [sys.executable, "-m", "edgeml", "fleet", "rollout", release, "--json"]
    command += ["--repo", str(folder / "repo"), "--broker", broker.url, "--fleet", FLEET]
    command += ["--stages", f"{FIRST_PERCENT},100", "--soak", "2s"]
    output = folder / f"{release}.json"
    with (
        output.open("w", encoding="utf-8") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True) as leading,
    ):
        for line in leading.stderr or ():
            stages.append(Stage(time.time(), line.strip()))
            step = ":".join(line.split(":")[:2])
            if not any(stage.said.startswith(step) for stage in stages[:-1]):
                say(f"{release}: {line.strip()}")
            if fleet.ended():
                leading.kill()
    said = output.read_text(encoding="utf-8")
    if leading.returncode not in (0, UpdateError.exit_code) or not said:
        raise DemoError(f"the rollout of {release} failed: {stages[-1].said if stages else ''}")
    ending = json.loads(said)
    why = (f"{device}: {reason}" for device, reason in ending["failures"].items())
    return tuple(stages), "; ".join([ending["reason"], *why]) if ending["halted"] else None
