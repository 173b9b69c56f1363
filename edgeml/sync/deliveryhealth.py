"""What a delivery says of itself: in Python, in the log, on the health topic."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryHealth:
    """How delivery is, at a glance.

    Attributes:
        outbox: the outbox's id.
        put: results and events taken since the start; what is neither pending, nor waiting, nor
            missing is confirmed.
        pending_rows: in memory, not on disk yet.
        waiting_rows: on disk, not confirmed yet.
        waiting_bytes: their size.
        missing_rows: given up and covered by gap records that are not confirmed yet.
        oldest_age_s: how long the oldest has waited, in seconds of running time; None where
            nothing waits.
        durability_window_ms: what was put longer ago is on the medium.
        connected: whether the broker can be reached now.
        mqtt5: whether the line speaks MQTT 5.
        outages: connections lost since the start.
        in_flight: messages sent and not confirmed.
        resends: messages sent again since the start.
        disk_failures: commits that failed since the start.
        last_error: what went wrong last and still does; None where all is well.
    """

    outbox: str
    put: int
    pending_rows: int
    waiting_rows: int
    waiting_bytes: int
    missing_rows: int
    oldest_age_s: float | None
    durability_window_ms: float
    connected: bool
    mqtt5: bool
    outages: int
    in_flight: int
    resends: int
    disk_failures: int
    last_error: str | None
