"""Makes the bundle around a chosen .tflite: golden vectors, manifest, and a last look at it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.bundle import Bundle, Golden, pack
from edgeml.errors import ConversionError
from edgeml.manifest import PreprocessStep, Quantisation, Requires
from edgeml.preprocess import EXACT_STEPS, Pipeline
from edgeml.runtime.graph import read_graph
from edgeml.runtime.model import Model
from edgeml_converters.baseline import Baseline
from edgeml_converters.inspection import oldest_runtime
from edgeml_converters.measure import run_tflite
from edgeml_converters.samples import Samples, spread
from edgeml_converters.schemes import Scheme
from edgeml_converters.spec import Spec

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

GOLDEN_WINDOWS: Final = 8
GOLDEN_POOL: Final = 512
MAX_GOLDEN_ELEMENTS: Final = 1 << 20

_INEXACT_STEPS: Final = {1: 2.0, 2: 64.0}
"""Steps of an integer output, by its bytes: what floats before it may move it by."""

_FLOAT_TOLERANCE: Final = {
    "float32": 1e-4,
    "float16": 1e-3,
    "dynamic": 2e-2,
    "int8": 1e-2,
    "int16x8": 1e-3,
    "mixed": 1e-2,
    "int4": 1e-3,
}
"""Of the outputs' largest magnitude: float kernels differ in the last bits between machines, and
dynamic-range ones in how they round activations."""


def make_golden(tflite: bytes, scheme: Scheme, spec: Spec, samples: Samples) -> Golden:
    """The self-test: raw windows, and what this machine's interpreter answers to them.

    Windows are spread over the classes, else over the recording. XNNPACK and the
    interpreter's own kernels round an int8 sum now and then to either side of a
    tie (1 to 4 % of outputs on noise), so windows are taken on which both agree:
    behind exact preprocessing those come out the same to the bit on every
    machine and interpreter, and a difference means a fault. The rest, and what
    floats within the model may move, gets the tolerance that its arithmetic needs.

    Args:
        tflite: the model.
        scheme: how it is quantised.
        spec: its preprocessing.
        samples: raw windows to choose from, at most 8.
    """
    pool = _pool(samples)
    inputs = pipeline_of(spec).batch(samples.windows[pool])
    raw = run_tflite(tflite, inputs).raw
    if raw.dtype.kind not in "iu":
        chosen = _spread(np.ones(len(pool), bool), _golden_count(samples))
        largest = max(float(np.abs(raw[chosen]).max()), 1e-3)
        tolerance = _FLOAT_TOLERANCE[scheme.name] * largest
    else:
        plain = run_tflite(tflite, inputs, delegate="none").raw
        apart = np.abs(raw.astype(np.int64) - plain).reshape(len(pool), -1).max(axis=1)
        chosen = _spread(apart == 0, _golden_count(samples))
        tolerance = float(apart[chosen].max())
        if scheme.name == "mixed" or not is_exact(spec.preprocess):
            tolerance = max(tolerance, _INEXACT_STEPS[raw.dtype.itemsize])
    windows: Floats = samples.windows[pool[chosen]]
    return Golden(windows, raw[chosen], tolerance)


def _pool(samples: Samples) -> Indices:
    """Samples to choose golden windows from, by class, at most `GOLDEN_POOL` of them."""
    order = np.arange(len(samples))
    if samples.labels is not None and samples.labels.ndim == 1:
        order = np.argsort(samples.labels, kind="stable")
    return spread(order, GOLDEN_POOL)


def _golden_count(samples: Samples) -> int:
    size = max(int(np.prod(samples.windows.shape[1:])), 1)
    return max(1, min(GOLDEN_WINDOWS, MAX_GOLDEN_ELEMENTS // size))


def _spread(steady: npt.NDArray[np.bool_], n: int) -> Indices:
    """One index from each of n stretches: a steady one where the stretch has one."""
    stretches = np.array_split(np.arange(len(steady)), min(n, len(steady)))
    return np.array([stretch[int(np.argmax(steady[stretch]))] for stretch in stretches])


def is_exact(steps: tuple[PreprocessStep, ...]) -> bool:
    """Whether these steps give the same bits on every machine."""
    return all(step.step in EXACT_STEPS for step in steps)


def pipeline_of(spec: Spec) -> Pipeline:
    """The preprocessing of a spec, compiled."""
    return Pipeline.from_steps(spec.preprocess, spec.inputs.shape, spec.inputs.sample_rate_hz)


def told_by_device(
    tflite: bytes, spec: Spec, created: str, windows: Floats
) -> npt.NDArray[np.float64]:
    """What the model's results hold on a device, (n, k): its drift is measured by these numbers."""
    with Model.load(pack(tflite, spec.manifest(created))) as model:
        return np.array([result.outputs for result in model.predict_batch(windows)], np.float64)


def make_bundle(
    tflite: bytes,
    spec: Spec,
    created: str,
    quantisation: Quantisation,
    golden: Golden,
    baseline: Baseline,
    target: str | None = None,
) -> bytes:
    """The bundle's bytes: packed, read back, and its golden test passed on this machine.

    Raises:
        ConversionError: what was packed does not pass its own self-test.
    """
    manifest = spec.manifest(created).replace(
        quantisation=quantisation,
        requires=Requires(oldest_runtime(tflite), read_graph(tflite).op_names),
        target=target,
    )
    data = pack(tflite, manifest, golden, baseline.as_json())
    _check(data, spec)
    return data


def _check(data: bytes, spec: Spec) -> None:
    bundle = Bundle.from_bytes(data, "the new bundle")
    if bundle.golden is None:
        raise ConversionError("the new bundle lost its golden vectors")
    again = run_tflite(bundle.tflite, pipeline_of(spec).batch(bundle.golden.windows)).raw
    off = np.abs(again.astype(np.float64) - bundle.golden.outputs.astype(np.float64)).max()
    if not off <= bundle.golden.tolerance:
        raise ConversionError(
            f"the new bundle fails its own golden test by {off:g}: the interpreter answers "
            "differently from one run to the next on this machine"
        )
