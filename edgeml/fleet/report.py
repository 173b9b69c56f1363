"""What a person wants to know about a fleet at a glance, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Final

from edgeml.fleet.store import DeviceStatus

_HEADER: Final = (
    "device", "online", "model", "results", "missing", "unaccounted", "queue", "oldest s",
    "last result", "label",
)  # fmt: skip


def status_table(devices: Sequence[DeviceStatus]) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Header and rows: queue and age are what the device said in its last health message."""
    rows: list[Sequence[object]] = []
    for device in devices:
        queue = _delivery(device)
        rows.append(
            (
                device.device,
                "yes" if device.online else "no",
                device.model,
                device.results,
                device.missing,
                device.unaccounted,
                queue.get("waiting_rows"),
                queue.get("oldest_age_s"),
                None if device.last_result_s is None else _utc(device.last_result_s),
                device.last_label,
            )
        )
    return _HEADER, rows


def status_document(devices: Sequence[DeviceStatus]) -> dict[str, Any]:
    """The same as JSON, with sums."""
    return {
        "devices": [asdict(device) for device in devices],
        "online": sum(device.online for device in devices),
        "results": sum(device.results for device in devices),
        "missing": sum(device.missing for device in devices),
        "unaccounted": sum(device.unaccounted for device in devices),
    }


def _delivery(device: DeviceStatus) -> dict[str, Any]:
    delivery = device.health.get("delivery")
    return delivery if isinstance(delivery, dict) else {}


def _utc(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_s)
