"""What a conversion hands back: every scheme that was tried, and the bundle that was made."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeml.bundle import write_bundle
from edgeml.errors import ConversionError
from edgeml_converters.analysis import Analysis
from edgeml_converters.judge import Verdict
from edgeml_converters.targets.target import Estimate


@dataclass(frozen=True, slots=True)
class Candidate:
    """One scheme that was tried.

    Attributes:
        scheme: its name.
        bytes: of the TFLite part; None where there is none.
        verdict: how it compares with the float model; None where there is no file.
        seconds: that converting and judging it took.
        reason: why it was chosen, or why not.
        in_float: the layers that a mixed file leaves in float.
    """

    scheme: str
    bytes: int | None
    verdict: Verdict | None
    seconds: float
    reason: str
    in_float: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The candidate as JSON values; numbers are null where there is no file."""
        verdict = self.verdict
        return {
            "scheme": self.scheme,
            "bytes": self.bytes,
            "score": None if verdict is None else verdict.score,
            "score_float": None if verdict is None else verdict.score_float,
            "drop": None if verdict is None else verdict.drop,
            "drop_interval": None if verdict is None else [verdict.drop_low, verdict.drop_high],
            "rmse": None if verdict is None else verdict.rmse,
            "agreement": None if verdict is None else verdict.agreement,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "in_float": list(self.in_float),
        }


@dataclass(frozen=True, slots=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        chosen: the candidate in the bundle.
        verdict: the chosen one's.
        candidates: every one that was tried.
        bundle: the file's bytes.
        tflite: the model alone.
        metric: what the scores are.
        warnings: what to know before trusting it.
        seconds: that all of it took.
        analysis: what a report draws.
        estimates: what each file costs on the target, by scheme; empty without a target.
    """

    chosen: Candidate
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    bundle: bytes = field(repr=False)
    tflite: bytes = field(repr=False)
    metric: str
    warnings: tuple[str, ...]
    seconds: float
    analysis: Analysis = field(repr=False)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def chosen_estimate(self) -> Estimate | None:
        """What the chosen file costs on the target; None without a target."""
        return self.estimates.get(self.chosen.scheme)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle, whole or not at all.

        Raises:
            BundleError: it cannot be written there.
        """
        write_bundle(path, self.bundle)

    def as_json(self, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """What `edgeml convert --json` prints."""
        return {
            "chosen": self.chosen.scheme,
            "metric": self.metric,
            "candidates": [candidate.as_json() for candidate in self.candidates],
            "bundle": None if path is None else os.fspath(path),
            "bundle_bytes": len(self.bundle),
            "warnings": list(self.warnings),
            "estimates": {scheme: asdict(said) for scheme, said in self.estimates.items()},
            "analysis": self.analysis.as_json(window=False),
            "seconds": round(self.seconds, 3),
        }


class NoneFitsError(ConversionError):
    """No scheme keeps its score within what was allowed; `candidates` say how far each is."""

    def __init__(self, message: str, candidates: Sequence[Candidate], metric: str) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)
        self.metric = metric

    def as_json(self, seconds: float) -> dict[str, Any]:
        """What `edgeml convert --json` prints where nothing was chosen."""
        return {
            "chosen": None,
            "metric": self.metric,
            "candidates": [candidate.as_json() for candidate in self.candidates],
            "bundle": None,
            "seconds": round(seconds, 3),
        }
