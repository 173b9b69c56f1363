"""What a person wants to know about a fleet at a glance, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Final

from edgeml.fleet.store import DeviceStatus

_DAY_S: Final = 86_400
_AHEAD_S: Final = 60.0
_HEADER: Final = (
    "device", "online", "seen", "model", "results", "missing", "unaccounted", "queue", "oldest",
    "as of", "last result", "label",
)  # fmt: skip


def status_table(
    devices: Sequence[DeviceStatus], now_s: float
) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Header and rows.

    Queue and its age are what the device said in its last health message, and `as of` is how
    long ago that was.
    """
    rows: list[Sequence[object]] = []
    for device in devices:
        queue = _delivery(device)
        rows.append(
            (
                device.device,
                "yes" if device.online else "no",
                ago(now_s, device.seen_s),
                printable(device.model),
                device.results,
                device.missing,
                device.unaccounted,
                queue.get("waiting_rows"),
                _duration(queue.get("oldest_age_s")),
                ago(now_s, device.health_s),
                None if device.last_result_s is None else _utc(device.last_result_s),
                printable(device.last_label),
            )
        )
    return _HEADER, rows


def status_summary(devices: Sequence[DeviceStatus]) -> str:
    """All devices in one line."""
    online = sum(device.online for device in devices)
    results, missing = sum(d.results for d in devices), sum(d.missing for d in devices)
    unaccounted = sum(device.unaccounted for device in devices)
    count = "1 device" if len(devices) == 1 else f"{len(devices)} devices"
    return (
        f"{count}, {online} online; {results} results, "
        f"{missing} known to be lost, {unaccounted} not here yet"
    )


def by_attention(devices: Sequence[DeviceStatus]) -> list[DeviceStatus]:
    """Those first whom somebody should look at: offline, with holes, with an old queue."""

    def key(device: DeviceStatus) -> tuple[bool, bool, float, str]:
        age = _delivery(device).get("oldest_age_s")
        age_s = float(age) if isinstance(age, (int, float)) else 0.0
        return device.online, device.unaccounted == 0, -age_s, device.device

    return sorted(devices, key=key)


def status_document(devices: Sequence[DeviceStatus], now_s: float) -> dict[str, Any]:
    """The same as JSON, with sums; ages are those of the moment `time_s`."""
    return {
        "time_s": now_s,
        "devices": [
            asdict(device)
            | {
                "seen_age_s": max(now_s - device.seen_s, 0.0),
                "health_age_s": (
                    None if device.health_s is None else max(now_s - device.health_s, 0.0)
                ),
            }
            for device in devices
        ],
        "online": sum(device.online for device in devices),
        "results": sum(device.results for device in devices),
        "missing": sum(device.missing for device in devices),
        "unaccounted": sum(device.unaccounted for device in devices),
    }


def retention_limit(now_s: float, days: float) -> float:
    """Before when to delete: the midnight (UTC) before so many days, so that whole days go."""
    return (now_s - days * _DAY_S) // _DAY_S * _DAY_S


def ago(now_s: float, then_s: float | None) -> str | None:
    """How long ago, for a person; a clock that was wrong by more than a minute shows."""
    if then_s is None:
        return None
    if then_s - now_s > _AHEAD_S:
        return f"{_duration(then_s - now_s)} ahead"
    return f"{_duration(max(now_s - then_s, 0.0))} ago"


def printable(text: str | None) -> str | None:
    """What a device says, without what would steer a terminal or break a line."""
    if text is None or text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _duration(seconds: object) -> str | None:
    if not isinstance(seconds, (int, float)):
        return None
    for unit, size_s in (("d", _DAY_S), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def _delivery(device: DeviceStatus) -> dict[str, Any]:
    delivery = device.health.get("delivery")
    return delivery if isinstance(delivery, dict) else {}


def _utc(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_s)
