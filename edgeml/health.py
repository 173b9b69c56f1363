"""What a device says of itself: a value for the program, and a message for the health topic."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeml.monitor.latency import Latency
from edgeml.result import ModelRef
from edgeml.sensors.dutycontrol import DutyHealth
from edgeml.sensors.live import LiveHealth
from edgeml.sensors.window import WindowStats
from edgeml.sync.deliveryhealth import DeliveryHealth


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The device at one moment.

    Attributes:
        device: its id.
        models: the models it runs.
        windows: what each lane's windower met since `run` began.
        sources: each live source and its queue, by the source's name ("" where there is one
            only); a recording that is read without a queue is not among them.
        duty: how far the strides are widened; None without duty-cycle control.
        results: results computed since the device was made.
        p50_us: median time from window to result, in microseconds.
        p95_us: its 95th percentile.
        p99_us: its 99th percentile.
        delivery: the outbox and the link; None without `sync`.
    """

    device: str
    models: tuple[ModelRef, ...]
    windows: tuple[WindowStats, ...]
    sources: Mapping[str, LiveHealth]
    duty: DutyHealth | None
    results: int
    p50_us: float
    p95_us: float
    p99_us: float
    delivery: DeliveryHealth | None


def loop_health(
    latency: Latency,
    windows: Sequence[WindowStats],
    sources: Mapping[str, LiveHealth],
    duty: DutyHealth | None,
) -> dict[str, Any]:
    """What the health topic says of the inference loop, as JSON values."""
    return {
        "results": latency.count,
        "p50_us": round(latency.percentile_us(50), 1),
        "p95_us": round(latency.percentile_us(95), 1),
        "p99_us": round(latency.percentile_us(99), 1),
        "windows": [asdict(stats) for stats in windows],
        "sources": {name: asdict(source) for name, source in sources.items()},
        "duty": None if duty is None else asdict(duty),
    }
