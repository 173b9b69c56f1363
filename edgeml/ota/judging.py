"""What a probe and a shadow run say against a candidate: pure."""

from typing import Final

from edgeml.ota.host import Shadowed, Verdict
from edgeml.ota.settings import Updates

MAX_TRIES: Final = 3
"""Probes of one candidate that may end with the machine going down."""


def exhausted(tries: int) -> str | None:
    """Why a candidate is not probed once more; None where it is."""
    if tries > MAX_TRIES:
        return f"crashes: this machine went down in {MAX_TRIES} probes of it"
    return None


def heavier(candidate: Verdict, incumbent: Verdict, limits: Updates) -> str | None:
    """Why a candidate takes too much beside the incumbent; None where not, or nobody knows."""
    if candidate.p95_ms is not None and incumbent.p95_ms is not None:
        most_ms = incumbent.p95_ms * limits.slower
        if candidate.p95_ms > most_ms:
            return f"slow: a p95 of {candidate.p95_ms:.2f} ms, more than {most_ms:.2f}"
    if candidate.peak_rss_mb is not None and incumbent.peak_rss_mb is not None:
        most_mb = incumbent.peak_rss_mb * limits.larger
        if candidate.peak_rss_mb > most_mb:
            return f"fat: a peak of {candidate.peak_rss_mb:.0f} MiB, more than {most_mb:.0f}"
    return None


def disagrees(seen: Shadowed, least: float) -> str | None:
    """Why a candidate says too often something else than the incumbent; None where it may."""
    agreement = seen.facts.get("agreement", 0.0)
    if agreement < least:
        return (
            f"disagrees: {agreement:.0%} of {seen.facts.get('windows', 0):.0f} windows agree with "
            f"the incumbent, fewer than {least:.0%}"
        )
    return None
