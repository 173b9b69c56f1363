"""A loaded model: raw windows in, results out.

Everything that can be looked up or checked beforehand is done while loading,
so that a prediction adds microseconds to the interpreter's own time. An
interpreter must not be used by two threads at once: a lock sees to that, so a
model may be shared and handed from thread to thread, but two threads that want
to compute at the same time need a model each.
"""

import os
import time
from _thread import allocate_lock  # `threading` has more, and takes its time to import
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from edgeml.arrays import Array, ArrayLike, Floats
from edgeml.bundle import Bundle
from edgeml.errors import BackendError, BundleError
from edgeml.manifest import Manifest
from edgeml.preprocess import Pipeline
from edgeml.result import ModelRef, Result
from edgeml.runtime.backend import Backend, DelegateSpec, asked_delegate, open_backend
from edgeml.runtime.compute import batch_preparer, feeder, pipeline_of, preparer
from edgeml.runtime.info import ModelInfo
from edgeml.runtime.outputs import Outputs
from edgeml.runtime.postprocess import build
from edgeml.runtime.source import Source, manifest_for, read_source

if TYPE_CHECKING:
    from edgeml.runtime.batch import Batcher
    from edgeml.runtime.postbatch import Many
    from edgeml.runtime.results import Results

_US: Final = 1e6
_new: Final = tuple.__new__


class Model:
    """A model ready to predict. Use it as a context manager, or `close` it.

    Attributes:
        manifest: of the bundle; for a plain .tflite one that its tensors suggest.
        info: what was loaded, and how it runs.
        baseline: what was normal when it was made, as the bundle says it; None where it does not.
        ref: name, version and digest, as results carry them.
        input_spec: the tensor that a preprocessed window goes into.
        output_specs: the tensors that `run_raw` gives.
        reopen: opens the file once more in the same way, without edgeml around it.
    """

    def __init__(
        self,
        source: Source,
        backend: Backend,
        info: ModelInfo,
        manifest: Manifest,
        pipeline: Pipeline,
        reopen: Callable[[], Backend],
    ) -> None:
        """From an open backend; use `load`."""
        given = backend.input
        outputs = Outputs(
            backend.outputs,
            source.graph.final_ops,
            source.graph.final_slots,
            pipeline.output_shape,
        )
        self.manifest = manifest
        self.info = info
        self.baseline = source.baseline
        self.ref = ModelRef(manifest.name, manifest.version, source.sha256)
        self.input_spec = given
        self.output_specs = backend.outputs
        self._graph = source.graph
        self.reopen = reopen
        self._batcher: Batcher | None = None
        self._answer_many: Many | None = None
        self._lock = allocate_lock()
        self._backend: Backend | None = backend
        self._prepare = preparer(manifest.name, manifest.inputs, pipeline, given.shape)
        self._prepare_batch = batch_preparer(manifest.name, manifest.inputs, pipeline, given.shape)
        self._feed = feeder(backend)
        self._outputs = outputs
        self._answer = build(manifest.outputs, outputs)
        self._variables = source.graph.variables

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | bytes | Bundle,
        backend: str | None = None,
        threads: int | None = None,
        *,
        delegate: str | DelegateSpec | None = None,
        require_delegate: bool = False,
    ) -> "Model":
        """Load a bundle or a plain .tflite that is trusted.

        A file from elsewhere goes through `edgeml.runtime.probe` first: a
        corrupt one may end the process that opens it.

        Args:
            source: a path, the file's bytes, or a bundle already read.
            backend: "litert" or "tflite", on a workstation "tf.lite"; None asks
                EDGEML_BACKEND, then what is installed.
            threads: to compute with; None asks EDGEML_THREADS, and then takes 1.
            delegate: "xnnpack", "edgetpu", the path of a delegate's library, or "none" for
                the plain kernels; None asks EDGEML_DELEGATE. One that fails is left out
                with a warning and an entry in `info`.
            require_delegate: make such a failure an error.

        Raises:
            BundleError: the file cannot be read, is damaged, or its manifest does not fit it.
            BackendError: the interpreter refuses the model, or a required delegate fails.
            MissingDependencyError: no interpreter is installed.
        """
        start = time.monotonic()
        read = read_source(source)
        spec = asked_delegate(delegate)
        opened, failure = _open(read, backend, threads, spec, require_delegate)
        manifest = read.manifest or manifest_for(read, opened.input, opened.outputs)
        pipeline = pipeline_of(manifest)
        _fit_input(read, opened, pipeline)
        info = ModelInfo.of(read, manifest, opened, failure, (time.monotonic() - start) * 1e3)

        name, asked = opened.name, spec if failure is None else None
        return cls(
            read,
            opened,
            info,
            manifest,
            pipeline,
            lambda: open_backend(read.tflite, name, threads, asked),
        )

    def predict(
        self,
        window: ArrayLike,
        start_s: float = 0.0,
        end_s: float = 0.0,
        new: int | None = None,
    ) -> Result:
        """What the model says about one raw window.

        Args:
            window: float32 of `manifest.inputs.shape`, in the sensor's units.
            start_s: unix time of the window's first sample.
            end_s: unix time of its last sample.
            new: how many of its last rows the window before did not have, for filters
                and operators that run on across windows; None for a window by itself.

        Raises:
            InputError: another shape, no numbers, NaN or infinity.
            BackendError: the interpreter failed, or the model is closed.
        """
        with self._lock:
            t0 = perf_counter()
            x = self._prepare(window, new)
            t1 = perf_counter()
            if self._variables:
                self._reset_variables(new)
            raw = self._feed(x)
            t2 = perf_counter()
            label, score, numbers = self._answer(raw, x)
            t3 = perf_counter()
        # What `Result(…)` does, without the call of a Python function.
        return _new(Result, (
            self.ref, start_s, end_s, label, score, numbers,
            (t1 - t0) * _US, (t2 - t1) * _US, (t3 - t2) * _US,
        ))  # fmt: skip

    def predict_batch(self, windows: ArrayLike) -> "Results":
        """What the model says about each of several windows, in batches where that is faster.

        Args:
            windows: float32 (n, *manifest.inputs.shape), in the sensor's units. Each
                is a window by itself.

        Returns:
            A sequence of a result for each, whose times are the mean over the batch; its
            `labels` and `scores` are there without making the results.

        Raises:
            InputError: another shape, no numbers, NaN or infinity.
            BackendError: the interpreter failed, or the model is closed.
        """
        from edgeml.runtime.results import Results, Rows, Timing  # no device that streams needs it

        with self._lock:
            t0 = perf_counter()
            x = self._prepare_batch(windows)
            t1 = perf_counter()
            ran = list(self._run_batch(x))
            t2 = perf_counter()
            if self._answer_many is not None and any(count > 1 for count, _ in ran):
                each_tensor = zip(*(raw for _, raw in ran), strict=True)
                answers = self._answer_many(list(map(np.concatenate, each_tensor)), x)
            else:
                answers = Rows(map(self._answer, (raw for _, raw in ran), x))
            t3 = perf_counter()
        each = _US / max(1, len(x))
        timing = Timing((t1 - t0) * each, (t2 - t1) * each, (t3 - t2) * each)
        return Results(self.ref, answers, timing)

    @property
    def batch_rows(self) -> int:
        """Windows that `predict_batch` runs together; 1 before its first call."""
        return 1 if self._batcher is None else self._batcher.rows

    def run_raw(self, window: ArrayLike) -> Array:
        """The model's own output for one raw window, as the interpreter gives it.

        Returns:
            The output without its batch axis, in its own dtype. Several outputs
            come flattened, one after the other.

        Raises:
            InputError, BackendError: as `predict`.
        """
        with self._lock:
            raw = self._run(self._prepare(window, None))
        if len(raw) > 1:
            return np.concatenate([array.ravel() for array in raw])
        return raw[0][0] if raw[0].shape[:1] == (1,) else raw[0]

    def preprocess(self, window: ArrayLike) -> Floats:
        """A raw window as the model sees it before quantisation: float32, of the tensor's shape.

        Raises:
            InputError: as `predict`.
        """
        with self._lock:
            x: Floats = self._prepare(window, None).copy()
        return x

    def warm_up(self, runs: int = 3) -> float:
        """Run on zeros, so that the first real window does not pay for first use.

        Returns:
            What the last run took, in milliseconds.

        Raises:
            BackendError: the interpreter failed, or the model is closed.
        """
        zeros = np.zeros(self.input_spec.shape, np.float32)
        took = 0.0
        with self._lock:
            for _ in range(max(1, runs)):
                start = perf_counter()
                self._run(zeros)
                took = perf_counter() - start
        return took * 1e3

    def close(self) -> None:
        """Give the interpreter's memory back, after a prediction under way. May be repeated."""
        with self._lock:
            self._backend = self._batcher = None
            self._feed = self.reopen = _refusal(repr(self))

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Model({self.ref.name!r} version {self.ref.version}, {self.ref.digest[:12]})"

    def _run(self, x: Floats) -> Sequence[Array]:
        self._reset_variables(None)
        return self._feed(x)

    def _reset_variables(self, new: int | None) -> None:
        """A window by itself, or after a gap, must not depend on the one before."""
        if not self._variables or self._backend is None:
            return
        rows = self.manifest.inputs.window
        if not self._graph.streams or new is None or new > rows:
            self._backend.reset_variables()

    def _run_batch(self, x: Floats) -> Iterable[tuple[int, Sequence[Array]]]:
        """How many windows, and their outputs; one window's are as the interpreter gives them."""
        backend = self._backend
        alone = self._variables or self._graph.state
        if backend is None or alone or not backend.batches:
            return ((1, self._run(row.reshape(self.input_spec.shape))) for row in x)
        if self._batcher is None:
            from edgeml.runtime.batch import Batcher  # a device that streams never needs it
            from edgeml.runtime.postbatch import build_many

            self._batcher = Batcher(self._feed, self.input_spec.shape, self.reopen)
            self._answer_many = build_many(self.manifest.outputs, self._outputs)
        return self._batcher.run(x)


def _refusal(name: str) -> Callable[..., NoReturn]:
    """What a closed model does instead of computing; it does not hold the model."""

    def refuse(*_: object) -> NoReturn:
        raise BackendError(f"{name} is closed; load it again")

    return refuse


def _open(
    source: Source,
    backend: str | None,
    threads: int | None,
    delegate: DelegateSpec | None,
    required: bool,
) -> tuple[Backend, str | None]:
    """The backend, and why the delegate is not in it, if it was asked for and failed."""
    try:
        return open_backend(source.tflite, backend, threads, delegate), None
    except BackendError as exc:
        requires = None if source.manifest is None else source.manifest.requires
        if delegate is None and requires is not None:
            raise BackendError(f"{exc}; it asks for TFLite {requires.runtime} or later") from exc
        if delegate is None or required:
            raise
        opened = open_backend(source.tflite, backend, threads)
        import logging

        logging.getLogger(__name__).warning("%s: %s; it runs on the CPU", source.name, exc)
        return opened, str(exc)


def _fit_input(source: Source, backend: Backend, pipeline: Pipeline) -> None:
    """Check the input tensor against the preprocessing; set the axes that the file leaves open."""
    given = backend.input
    made = pipeline.output_shape
    if given.shape in (made, (1, *made)):
        return
    wanted = (1, *made) if len(given.shape) == len(made) + 1 else made
    if len(wanted) == len(given.shape) and all(
        want == have or axis in given.free
        for axis, (want, have) in enumerate(zip(wanted, given.shape, strict=True))
    ):
        backend.resize(wanted)
        return
    raise BundleError(
        f"{source.name}: preprocessing gives {list(made)} but the model's input "
        f"{given.name!r} takes {list(given.shape)}"
    )
