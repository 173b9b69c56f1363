"""K-means: how near each centre is."""

from typing import Any

import numpy as np

from edgeml_converters.sources.sklearn.compiled import Head, Tensor, negated


def kmeans(estimator: Any) -> Head:
    """KMeans, MiniBatchKMeans: minus the distance to each centre.

    The largest is the nearest. Differences are squared one by one: there are few
    centres, and a distance out of products loses its digits near a centre.
    """
    centres = np.asarray(estimator.cluster_centers_, np.float32)
    labels = tuple(str(i) for i in range(len(centres)))

    def build(tf: Any, x: Tensor) -> Tensor:
        away = x - centres
        return tf.reshape(-tf.sqrt(tf.reduce_sum(away * away, 1)), [1, -1])

    return Head("transform", len(centres), build, negated, labels)
