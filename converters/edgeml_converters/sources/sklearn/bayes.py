"""Naive Bayes: the logarithm of each class's joint likelihood, and its softmax."""

from typing import Any

import numpy as np

from edgeml_converters.sources.sklearn.compiled import (
    Build,
    Head,
    Tensor,
    Wide,
    as_is,
    chained,
    dense,
    names,
    softmax,
)
from edgeml_converters.sources.sklearn.thresholds import fold


def gaussian(estimator: Any) -> Head:
    """GaussianNB: squared distances in units of each class's own deviation."""
    variance = np.asarray(estimator.var_, np.float64)
    mean = np.asarray(estimator.theta_, np.float64).astype(np.float32)
    factor = np.sqrt(0.5 / variance).astype(np.float32)
    constant = np.log(estimator.class_prior_) - 0.5 * np.log(2 * np.pi * variance).sum(1)
    start = constant.astype(np.float32)

    def build(tf: Any, x: Tensor) -> Tensor:
        away = (x - mean) * factor
        return tf.reshape(start - tf.reduce_sum(away * away, 1), [1, -1])

    return _head(estimator, build)


def multinomial(estimator: Any) -> Head:
    """MultinomialNB."""
    return _head(estimator, _product(estimator.feature_log_prob_, estimator.class_log_prior_))


def complement(estimator: Any) -> Head:
    """ComplementNB, whose prior counts only where there is a single class."""
    weights = np.asarray(estimator.feature_log_prob_, np.float64)
    return _head(estimator, _product(weights, np.zeros(len(weights))))


def bernoulli(estimator: Any) -> Head:
    """BernoulliNB, with the threshold that makes its columns 0 or 1."""
    present = np.asarray(estimator.feature_log_prob_, np.float64)
    absent = np.log(1 - np.exp(present))
    product = _product(present - absent, estimator.class_log_prior_ + absent.sum(1))
    if estimator.binarize is None:
        return _head(estimator, product)
    limit = np.array([float(estimator.binarize)])
    _, threshold = fold([], np.zeros(1, np.intp), limit, single=False)

    def binarized(tf: Any, x: Tensor) -> Tensor:
        return tf.cast(x > threshold, tf.float32)

    return _head(estimator, chained(binarized, product))


def _product(weights: Wide, bias: Wide) -> Build:
    """The likelihoods less their mean over the classes, which a softmax does not see.

    Smaller numbers keep more digits in float32.
    """
    kernel, offset = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    return dense((kernel - kernel.mean(0)).T, offset - offset.mean())


def _head(estimator: Any, build: Build) -> Head:
    labels = names(estimator)
    return Head("predict_proba", len(labels), chained(build, softmax), as_is, labels)
