"""What a probe and a shadow run say against a candidate: pure."""

from edgeml.ota.host import Shadowed, Verdict


def slower(candidate: Verdict, incumbent: Verdict, factor: float) -> str | None:
    """Why a candidate is too slow beside the incumbent; None where it is not, or nobody knows."""
    if candidate.p95_ms is None or incumbent.p95_ms is None:
        return None
    most_ms = incumbent.p95_ms * factor
    if candidate.p95_ms > most_ms:
        return f"slow: a p95 of {candidate.p95_ms:.2f} ms, more than {most_ms:.2f}"
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
