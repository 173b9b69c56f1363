"""Transformers that scale, choose or project columns."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import Columns, Stage, Tensor, Wide, dense

_NORMS = ("l1", "l2", "max")


def standard(scaler: Any) -> Stage:
    """StandardScaler: minus the mean, divided by the deviation."""
    return _shift_and_divide(scaler, scaler.mean_ if scaler.with_mean else None, scaler.scale_)


def robust(scaler: Any) -> Stage:
    """RobustScaler: minus the median, divided by a range of quantiles."""
    return _shift_and_divide(scaler, scaler.center_, scaler.scale_)


def max_abs(scaler: Any) -> Stage:
    """MaxAbsScaler: divided by the largest magnitude."""
    return _shift_and_divide(scaler, None, scaler.scale_)


def _shift_and_divide(scaler: Any, shift: Wide | None, divisor: Wide | None) -> Stage:
    count = int(scaler.n_features_in_)
    mean = np.zeros(count) if shift is None else np.asarray(shift, np.float64)
    scale = np.ones(count) if divisor is None else np.asarray(divisor, np.float64)
    _check(scaler, scale, mean)
    low, factor = mean.astype(np.float32), (1 / scale).astype(np.float32)

    def build(_: Any, x: Tensor) -> Tensor:
        moved = x if shift is None else x - low
        return moved if divisor is None else moved * factor

    def apply(values: Wide, column: npt.NDArray[np.intp]) -> Wide:
        moved = values if shift is None else values - mean[column]
        return moved if divisor is None else moved / scale[column]

    return Stage(count, count, build, Columns(np.arange(count), apply))


def min_max(scaler: Any) -> Stage:
    """MinMaxScaler: a factor and an offset, clipped where it was asked to."""
    scale, offset = np.asarray(scaler.scale_, np.float64), np.asarray(scaler.min_, np.float64)
    _check(scaler, scale, offset)
    low, high = map(float, scaler.feature_range)
    factor, start = scale.astype(np.float32), (-offset / scale).astype(np.float32)

    def build(tf: Any, x: Tensor) -> Tensor:
        # Moved before it is scaled, which keeps the digits of a large value with a small range.
        y = (x - start) * factor
        return tf.clip_by_value(y, low, high) if scaler.clip else y

    def apply(values: Wide, column: npt.NDArray[np.intp]) -> Wide:
        y = values * scale[column] + offset[column]
        return np.clip(y, low, high) if scaler.clip else y

    return Stage(len(scale), len(scale), build, Columns(np.arange(len(scale)), apply))


def normalizer(scaler: Any) -> Stage:
    """Normalizer: every row divided by its own norm; a row of zeros stays."""
    kind = scaler.norm
    if kind not in _NORMS:
        raise ConversionError(f"Normalizer has the norm {kind!r}, none of {', '.join(_NORMS)}")

    def build(tf: Any, x: Tensor) -> Tensor:
        if kind == "l2":
            norm = tf.sqrt(tf.reduce_sum(x * x, 1, keepdims=True))
        elif kind == "l1":
            norm = tf.reduce_sum(tf.abs(x), 1, keepdims=True)
        else:
            norm = tf.reduce_max(tf.abs(x), 1, keepdims=True)
        return x / tf.where(norm > 0, norm, 1.0)

    count = int(scaler.n_features_in_)
    return Stage(count, count, build)


def selector(chooser: Any) -> Stage:
    """SelectKBest, VarianceThreshold and their like: some of the columns."""
    kept = np.flatnonzero(chooser.get_support())
    if not len(kept):
        raise ConversionError(f"{type(chooser).__name__} keeps no column at all")
    index = kept.astype(np.int32)

    def build(tf: Any, x: Tensor) -> Tensor:
        return tf.gather(x, index, axis=1)

    given = int(chooser.n_features_in_)
    return Stage(given, len(kept), build, Columns(kept, lambda values, _: values))


def pca(projection: Any) -> Stage:
    """PCA: centred, projected, and whitened where it was asked to."""
    components = np.asarray(projection.components_, np.float64).T
    if projection.whiten:
        deviation = np.sqrt(projection.explained_variance_)
        components = components / np.maximum(deviation, np.finfo(np.float64).eps)
    mean = np.asarray(projection.mean_, np.float32)
    project = dense(components, np.zeros(components.shape[1]))
    return Stage(*_sizes(components), lambda tf, x: project(tf, x - mean))


def truncated_svd(projection: Any) -> Stage:
    """TruncatedSVD: projected."""
    components = np.asarray(projection.components_, np.float64).T
    return Stage(*_sizes(components), dense(components, np.zeros(components.shape[1])))


def _sizes(matrix: Wide) -> tuple[int, int]:
    given, made = matrix.shape
    return given, made


def _check(scaler: Any, scale: Wide, shift: Wide) -> None:
    count = int(scaler.n_features_in_)
    fits = scale.shape == shift.shape == (count,)
    if not fits or not (scale > 0).all() or not np.isfinite(scale + shift).all():
        raise ConversionError(
            f"{type(scaler).__name__} has factors that are not {count} finite numbers above zero; "
            "is the file damaged?"
        )
