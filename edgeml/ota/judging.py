"""What speaks against a candidate, before it is fetched and after it was tried: pure."""

from typing import Final

from edgeml.ota.host import Shadowed, Verdict
from edgeml.ota.journal import Journal
from edgeml.ota.probation import CRASHES, HICCUP_US, longest
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.releases.rollout import Decision, Ignore, Install, Rule, within

MAX_TRIES: Final = 3
"""Probes of one candidate that may end with the machine going down."""


def objection(release: str, decision: Decision, journal: Journal) -> str | None:
    """Why a release is not taken although somebody asks for it; None where it is."""
    if isinstance(decision, Ignore):
        return decision.reason
    if release in journal.bad:
        return f"bad: {release} failed on this device: {journal.bad[release]}"
    if journal.pinned not in (None, release):
        return "pinned: this device stays with what it has; unpin it first"
    return None


def permitted(
    state: State, decision: Decision, rule: Rule, settings: Updates, local_hour: float
) -> bool:
    """Whether a release may be fetched unasked, or once it is here, be tried and installed now."""
    begins = isinstance(decision, Install) and settings.policy != "ask"
    if state is State.WAITING and not begins:
        return False
    return all(hours is None or within(hours, local_hour) for hours in (settings.hours, rule.hours))


def exhausted(tries: int) -> str | None:
    """Why a candidate is not probed once more; None where it is."""
    if tries > MAX_TRIES:
        return f"{CRASHES}this machine went down in {MAX_TRIES} probes of it"
    return None


def heavier(candidate: Verdict, incumbent: Verdict, limits: Updates) -> str | None:
    """Why a candidate takes too much beside the incumbent; None where not, or nobody knows."""
    if candidate.p95_ms is not None and incumbent.p95_ms is not None:
        before_ms = incumbent.p95_ms
        most_ms = longest(before_ms, limits.slower, HICCUP_US / 1000)
        if candidate.p95_ms > most_ms:
            return (
                f"slow: a p95 of {candidate.p95_ms:.2f} ms, more than {most_ms:.2f}; "
                f"the incumbent's is {before_ms:.2f}"
            )
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
