"""Which layer hurts: the error of every operator's output, from what really was in the tensors.

The float file and the quantised one are run side by side on the same windows
with every tensor kept. Both came from one graph, so without the operators that
only change types their operators are the same ones in the same order, and that
is checked. The ratio of an output's signal to the noise that quantising put on
it says how noisy the layer is; how far it falls below its inputs', what the
layer itself adds.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BackendError
from edgeml.runtime.graph import TENSOR_TYPES
from edgeml.runtime.quiet import quiet_native_log
from edgeml_converters.analysis import Layer
from edgeml_converters.inspection import CASTS, operator_name, unpack_model
from edgeml_converters.samples import spread

Floats = npt.NDArray[np.float32]

MAX_WINDOWS: Final = 16
GOOD_DB: Final = 50.0
"""What eight bits leave of evenly spread values, 6.02 * 8 + 1.76: more is no merit, less a loss."""
_INPUT: Final = "INPUT"
_FLOAT_DB: Final = 20 * math.log10(2**24)
"""What float32 itself leaves of a signal."""


class _Observed:
    """A file opened with every tensor kept."""

    def __init__(self, tflite: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with quiet_native_log(), warnings.catch_warnings():
                # It warns that keeping every tensor takes memory, which is the purpose here.
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter = Interpreter(
                    model_content=tflite, experimental_preserve_all_tensors=True
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise _refused(exc) from exc
        self._given = self._interpreter.get_input_details()[0]
        self._scales = {
            detail["index"]: detail["quantization"]
            for detail in self._interpreter.get_tensor_details()
        }

    def run(self, window: Floats) -> None:
        """One inference on a preprocessed window, in floats."""
        values = window.reshape(self._given["shape"])
        scale, zero = self._given["quantization"]
        kind = np.dtype(self._given["dtype"])
        if kind.kind in "iu" and scale:
            limits = np.iinfo(kind)
            values = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
        try:
            self._interpreter.set_tensor(self._given["index"], values.astype(kind))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as exc:
            raise _refused(exc) from exc

    def values(self, index: int) -> npt.NDArray[np.float64]:
        """What a tensor holds, dequantised."""
        held = self._interpreter.get_tensor(index)
        scale, zero = self._scales[index]
        wide: npt.NDArray[np.float64] = held.astype(np.float64)
        return (wide - zero) * scale if held.dtype.kind in "iu" and scale else wide


def layer_errors(float_tflite: bytes, made: bytes, windows: Floats) -> tuple[Layer, ...]:
    """The model's input and every operator, with the error of its output.

    Args:
        float_tflite: the float file, with the names of its tensors.
        made: a file quantised from the same graph; names may be gone.
        windows: float32 (n, *model input), preprocessed, n at least 1; 16 of them are run.

    Returns:
        Empty where the two files have not the same operators in the same order.

    Raises:
        BackendError: the interpreter refuses a file.
    """
    ours, theirs = unpack_model(float_tflite), unpack_model(made)
    pairs = _pair(ours, theirs)
    if pairs is None:
        return ()
    before, after = _Observed(float_tflite), _Observed(made)
    shown = [_Sums() for _ in pairs]
    for window in spread(windows, MAX_WINDOWS):
        before.run(window)
        after.run(window)
        for sums, (_, mine, other, _) in zip(shown, pairs, strict=True):
            sums.add(before.values(mine), after.values(other))
    return _rows(ours.subgraphs[0], theirs.subgraphs[0], pairs, shown)


def that_hurts(layers: Sequence[Layer]) -> str | None:
    """The name of the layer that loses most of the signal by itself."""
    worst = max(layers, key=lambda layer: layer.fall_db, default=None)
    return worst.name if worst is not None and worst.fall_db > 0 else None


_Pair = tuple[str, int, int, tuple[int, ...]]
"""An operator's name, its output in the float file and in the other, its inputs in the former."""


def _pair(ours: Any, theirs: Any) -> list[_Pair] | None:
    mine, others = _operators(ours), _operators(theirs)
    graph, other_graph = ours.subgraphs[0], theirs.subgraphs[0]
    if [name for name, _ in mine] != [name for name, _ in others]:
        return None
    pairs: list[_Pair] = [(_INPUT, int(graph.inputs[0]), int(other_graph.inputs[0]), ())]
    for (name, a), (_, b) in zip(mine, others, strict=True):
        left, right = int(a.outputs[0]), int(b.outputs[0])
        if _shape(graph.tensors[left]) != _shape(other_graph.tensors[right]):
            return None
        pairs.append((name, left, right, tuple(int(i) for i in a.inputs)))
    return pairs


def _operators(model: Any) -> list[tuple[str, Any]]:
    named = [(operator_name(model, one), one) for one in model.subgraphs[0].operators]
    return [(name, operator) for name, operator in named if name not in CASTS]


class _Sums:
    """Signal and noise of one output over all windows, channel by channel (the last axis)."""

    def __init__(self) -> None:
        self._signal: npt.NDArray[np.float64] = np.zeros(1)
        self._noise: npt.NDArray[np.float64] = np.zeros(1)
        self.low, self.high = math.inf, -math.inf

    def add(self, true: npt.NDArray[np.float64], held: npt.NDArray[np.float64]) -> None:
        if not true.size:
            return
        rows = (-1, true.shape[-1] if true.ndim else 1)
        self._signal = self._signal + np.sum(true.reshape(rows) ** 2, axis=0)
        self._noise = self._noise + np.sum((true - held).reshape(rows) ** 2, axis=0)
        self.low, self.high = min(self.low, float(true.min())), max(self.high, float(true.max()))

    @property
    def sqnr_db(self) -> float:
        if not self._noise.any():
            return math.inf
        alive = self._signal > 0
        if not alive.any():
            return -math.inf
        floor = self._signal[alive] * 10 ** (-_FLOAT_DB / 10)
        noise = np.maximum(self._noise[alive], floor)
        return float(np.mean(10 * np.log10(self._signal[alive] / noise)))


def _rows(
    graph: Any, other_graph: Any, pairs: Sequence[_Pair], shown: Sequence[_Sums]
) -> tuple[Layer, ...]:
    ratio = {mine: sums.sqnr_db for (_, mine, _, _), sums in zip(pairs, shown, strict=True)}
    rows = []
    for (operator, mine, other, inputs), sums in zip(pairs, shown, strict=True):
        tensor = other_graph.tensors[other]
        noisiest = min((ratio[i] for i in inputs if i in ratio), default=math.inf)
        fall = min(noisiest, GOOD_DB) - min(sums.sqnr_db, GOOD_DB)
        rows.append(
            Layer(
                name=_name(graph.tensors[mine], operator),
                operator=operator,
                shape=_shape(graph.tensors[mine]),
                dtype=TENSOR_TYPES[tensor.type],
                sqnr_db=sums.sqnr_db,
                fall_db=max(fall, 0.0),
                seen=(sums.low, sums.high),
                held=_held(tensor),
            )
        )
    return tuple(rows)


def _held(tensor: Any) -> tuple[float, float] | None:
    """The smallest and the largest value that a quantised tensor can hold."""
    kind, quantisation = TENSOR_TYPES[tensor.type], tensor.quantization
    if kind not in ("int8", "int16", "uint8") or quantisation is None or quantisation.scale is None:
        return None
    scale, zero = float(quantisation.scale[0]), int(quantisation.zeroPoint[0])
    limits = np.iinfo(np.dtype(kind))
    return (int(limits.min) - zero) * scale, (int(limits.max) - zero) * scale


def readable(name: str) -> str:
    """The part of a tensor's name that a person recognises: the layer's, before what was fused."""
    first = name.split(";", maxsplit=1)[0].split(":", maxsplit=1)[0]
    return "output" if first.startswith(("StatefulPartitionedCall", "PartitionedCall")) else first


def _name(tensor: Any, operator: str) -> str:
    if operator == _INPUT:
        return "input"
    return readable((tensor.name or b"").decode("utf-8", "replace")) or operator.lower()


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(n) for n in tensor.shape)


def _refused(exc: Exception) -> BackendError:
    return BackendError(f"the interpreter cannot show the model's inner tensors: {exc}")
