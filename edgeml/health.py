"""What a device says of itself: a value for the program, and a message for the health topic."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeml.monitor.latency import Latency
from edgeml.result import ModelRef
from edgeml.sensors.live import LiveHealth
from edgeml.sensors.window import WindowStats
from edgeml.sync.delivery import DeliveryHealth


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The device at one moment.

    Attributes:
        device: its id.
        models: the models it runs.
        windows: what each lane's windower met since `run` began.
        source: a live source and its queue; None for a recording.
        results: results computed since the device was made.
        p50_us: median time from window to result, in microseconds.
        p95_us: its 95th percentile.
        p99_us: its 99th percentile.
        delivery: the outbox and the link; None without `sync`.
    """

    device: str
    models: tuple[ModelRef, ...]
    windows: tuple[WindowStats, ...]
    source: LiveHealth | None
    results: int
    p50_us: float
    p95_us: float
    p99_us: float
    delivery: DeliveryHealth | None


def loop_health(
    latency: Latency, windows: Sequence[WindowStats], source: LiveHealth | None
) -> dict[str, Any]:
    """What the health topic says of the inference loop, as JSON values."""
    return {
        "results": latency.count,
        "p50_us": round(latency.percentile_us(50), 1),
        "p95_us": round(latency.percentile_us(95), 1),
        "p99_us": round(latency.percentile_us(99), 1),
        "windows": [asdict(stats) for stats in windows],
        "source": None if source is None else asdict(source),
    }
