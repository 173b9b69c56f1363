"""What a run of the demonstration leaves behind, as values."""

from dataclasses import dataclass

from edgeml.demo.tally import Tally


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The device at one moment, in seconds since its first window."""

    time_s: float
    produced: int
    queue_depth: int
    connected: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the table, the JSON object and the report are made from.

    Attributes:
        recordings: different recordings that were played.
        killed_at_s: when the broker was killed, on the timeline.
        outage_s: how long there was no broker.
        outages: how often the device lost its broker, as it saw it.
        seconds: the whole run.
        times_us: window to result, one for each result.
        score_float: accuracy of the float model, as the manifest records it.
        score_quantised: accuracy of the int8 model on the workstation, likewise.
    """

    tally: Tally
    timeline: tuple[TimelinePoint, ...]
    recordings: int
    killed_at_s: float
    outage_s: float
    outages: int
    seconds: float
    times_us: tuple[float, ...]
    labels: tuple[str, ...]
    model: str
    version: int
    digest: str
    bundle_bytes: int
    score_float: float | None
    score_quantised: float | None
    machine: str
    interpreter: str
    broker: str

    def summary(self) -> dict[str, float]:
        """The numbers of the demonstration's JSON object."""
        count = self.tally
        return {
            "produced": count.produced,
            "delivered": count.delivered,
            "lost": count.lost,
            "duplicates": count.duplicates,
            "accuracy": round(count.accuracy, 4),
            "p50_us": round(count.p50_us, 1),
            "p99_us": round(count.p99_us, 1),
            "outages": self.outages,
            "seconds": round(self.seconds, 2),
        }
