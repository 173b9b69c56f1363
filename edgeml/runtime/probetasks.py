"""What a probe does with a model once it is limited: verify it, time it, or just start it.

Each task takes its order and gives a report, both JSON values.
"""

import math
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter
from typing import Any, Final

import numpy as np

from edgeml.arrays import Floats
from edgeml.bundle import Bundle, read_file
from edgeml.manifest import Budgets
from edgeml.runtime.golden import GoldenReport, check_golden
from edgeml.runtime.model import Model
from edgeml.runtime.process import peak_rss_mb
from edgeml.runtime.source import is_bundle
from edgeml.runtime.tensors import quantise

_US: Final = 1e6
_WARM_UP: Final = 10


def verify(order: Mapping[str, Any]) -> dict[str, Any]:
    """Load, golden test, latency, memory, and each promise of the bundle that does not hold."""
    path = order["path"]
    data = read_file(path)
    bundle = Bundle.from_bytes(data, path) if is_bundle(data, path) else None
    golden = None if bundle is None else bundle.golden
    with _load(order, path if bundle is None else bundle) as model:
        tested = None if golden is None else check_golden(model, golden)
        window = np.zeros(model.manifest.inputs.shape, np.float32)
        if golden is not None:
            window = golden.windows[0]
        model.warm_up()
        times_s = _timed(lambda: model.predict(window), order["runs"], order["budget_s"])
        p95_ms = percentile(times_s, 95) * 1e3
        peak = peak_rss_mb()
        return {
            **_identity(model),
            "golden": None if tested is None else tested.as_dict(),
            "runs": len(times_s),
            "p50_ms": percentile(times_s, 50) * 1e3,
            "p95_ms": p95_ms,
            "peak_rss_mb": peak,
            "violations": _violations(tested, model.manifest.budgets, p95_ms, peak),
        }


def cold(order: Mapping[str, Any]) -> dict[str, Any]:
    """Load and predict once; says when, by the clock that every process shares."""
    with _load(order, order["path"]) as model:
        model.predict(np.zeros(model.manifest.inputs.shape, np.float32))
        return {"first_result_s": monotonic()}


def bench(order: Mapping[str, Any]) -> dict[str, Any]:
    """Time `predict` beside the backend alone, call by call in turn."""
    with _load(order, order["path"]) as model:
        window = _sample(order["path"], model)
        alone = model.reopen()
        if alone.input.shape != model.input_spec.shape:
            alone.resize(model.input_spec.shape)
        x = quantise(model.preprocess(window), alone.input)
        rows: list[tuple[float, ...]] = []
        deadline = monotonic() + order["budget_s"]
        while len(rows) < order["runs"] + _WARM_UP and (not rows or monotonic() < deadline):
            t0 = perf_counter()
            alone.run(x)
            t1 = perf_counter()
            result = model.predict(window)
            t2 = perf_counter()
            rows.append((t2 - t1, t1 - t0, result.pre_us, result.invoke_us, result.post_us))
        counted = rows[_WARM_UP:] or rows
        total, bare, pre, invoke, post = (list(column) for column in zip(*counted, strict=True))
        p50_us, bare_us = percentile(total, 50) * _US, percentile(bare, 50) * _US
        return {
            **_identity(model),
            "runs": len(counted),
            "p50_us": p50_us,
            "p95_us": percentile(total, 95) * _US,
            "p99_us": percentile(total, 99) * _US,
            "pre_us": percentile(pre, 50),
            "invoke_us": percentile(invoke, 50),
            "post_us": percentile(post, 50),
            "bare_us": bare_us,
            "overhead_us": p50_us - bare_us,
            "peak_rss_mb": peak_rss_mb(),
        }


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _load(order: Mapping[str, Any], source: "str | Bundle") -> Model:
    return Model.load(source, backend=order["backend"], threads=order["threads"])


def _sample(path: str, model: Model) -> Floats:
    """A golden window where the file has one, so that latency is that of real data."""
    data = read_file(path)
    golden = Bundle.from_bytes(data, path).golden if is_bundle(data, path) else None
    if golden is not None:
        first: Floats = golden.windows[0]
        return first
    rng = np.random.default_rng(0)
    window: Floats = rng.standard_normal(model.manifest.inputs.shape, dtype=np.float32)
    return window


def _timed(work: Callable[[], object], runs: int, budget_s: float) -> list[float]:
    """Seconds of each run; at least one, fewer than `runs` where the time is over."""
    deadline = monotonic() + budget_s
    times_s: list[float] = []
    while not times_s or (len(times_s) < runs and monotonic() < deadline):
        start = perf_counter()
        work()
        times_s.append(perf_counter() - start)
    return times_s


def _violations(
    golden: GoldenReport | None, budgets: Budgets | None, p95_ms: float, peak_mb: float | None
) -> list[str]:
    found = []
    if golden is not None and not golden.passed:
        found.append(
            f"golden test: {golden.failed} of {golden.windows} windows differ by more than "
            f"{golden.tolerance:g} (worst {golden.worst:g})"
        )
    if budgets is not None and budgets.p95_ms is not None and p95_ms > budgets.p95_ms:
        found.append(f"latency: p95 is {p95_ms:.3g} ms, the budget {budgets.p95_ms:g} ms")
    limit = None if budgets is None else budgets.peak_rss_mb
    if limit is not None and peak_mb is not None and peak_mb > limit:
        found.append(f"memory: peak RSS is {peak_mb:.0f} MiB, the budget {limit:g} MiB")
    return found


def _identity(model: Model) -> dict[str, Any]:
    info = model.info
    return {
        "name": info.name,
        "version": info.version,
        "task": info.task,
        "digest": info.digest,
        "size_bytes": info.size_bytes,
        "bundle": info.bundle,
        "backend": info.backend,
        "backend_version": info.backend_version,
        "threads": info.threads,
        "delegate": info.delegate,
        "delegate_error": info.delegate_error,
        "load_ms": info.load_ms,
    }


def count(order: Mapping[str, Any]) -> dict[str, Any]:
    """Predict a fixed number of times and nothing else, for a machine that counts instructions."""
    with _load(order, order["path"]) as model:
        window = np.zeros(model.manifest.inputs.shape, np.float32)
        for _ in range(order["runs"]):
            model.predict(window)
    return {"runs": order["runs"]}


TASKS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "verify": verify,
    "cold": cold,
    "bench": bench,
    "count": count,
}
