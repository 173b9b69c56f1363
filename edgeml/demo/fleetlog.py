"""What happened to the models of a whole fleet, read from the devices' own log."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeml.demo.devicelog import whole_lines


@dataclass(frozen=True, slots=True)
class Turn:
    """From this moment of the wall clock on, a device answers with this version."""

    time_s: float
    device: str
    version: int


@dataclass(frozen=True, slots=True)
class Undone:
    """A device went back, and said why."""

    device: str
    release: str
    why: str


@dataclass(frozen=True, slots=True)
class FleetLog:
    """A log, as far as it has been written.

    Attributes:
        turns: in their order.
        undone: what devices undid.
        windows: how many were answered in all; 0 before the devices have ended.
        longest_pause_s: between two answers of one device.
        end_s: the wall clock at the last record.
    """

    turns: tuple[Turn, ...]
    undone: tuple[Undone, ...]
    windows: int
    longest_pause_s: float
    end_s: float

    @classmethod
    def read(cls, path: Path) -> "FleetLog":
        """Read what there is."""
        records = [json.loads(line) for line in whole_lines(path)]
        ends = [record for record in records if record["kind"] == "end"]
        return cls(
            turns=tuple(
                Turn(r["time_s"], r["device"], r["version"])
                for r in records
                if r["kind"] == "version"
            ),
            undone=tuple(
                Undone(r["device"], r["release"], r["why"])
                for r in records
                if r["kind"] == "update" and r["event"] in ("unhealthy", "revoked")
            ),
            windows=sum(record["windows"] for record in ends),
            longest_pause_s=max((record["longest_pause_s"] for record in ends), default=0.0),
            end_s=max((record["time_s"] for record in records), default=0.0),
        )

    def last_versions(self) -> dict[str, int]:
        """The version that each device answers with now."""
        return {turn.device: turn.version for turn in self.turns}

    def run(self, version: int, devices: Sequence[str]) -> bool:
        """Whether each of the devices answers with this version."""
        last = self.last_versions()
        return all(last.get(device) == version for device in devices)

    def that_ran(self, version: int) -> set[str]:
        """The devices that ever answered with a version."""
        return {turn.device for turn in self.turns if turn.version == version}
