"""Object detection: from boxes and scores to objects, with the suppression that the file lacks.

Two kinds of files. One ends in TFLite_Detection_PostProcess and gives boxes,
classes, scores and a count; its work is done. The other gives (n, 4) boxes and
(n, classes) scores, and here become of them: boxes from anchors, scores from
logits, and non-maximum suppression by class. `outputs` of a result are rows of
six numbers, best first: class, score, ymin, xmin, ymax, xmax.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError, nearest
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.graph import DETECTION_OP
from edgeml.runtime.outputs import Answer, Outputs, Postprocess
from edgeml.runtime.postprocess import activation_of
from edgeml.runtime.tensors import TensorSpec, decoder

ROLES: Final = ("boxes", "classes", "scores", "count")
"""What that operator gives, in its own order; a file may list its outputs in another."""

ROW: Final = 6
FORMATS: Final = ("corners", "centres", "anchors")
_SSD_SCALE: Final = (10.0, 10.0, 5.0, 5.0)
"""How TensorFlow's object detection models divide box encodings: y, x, height, width."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object; the box is in fractions of the image's height and width where the model's is."""

    label: str
    score: float
    ymin: float
    xmin: float
    ymax: float
    xmax: float


def detections(outputs: Sequence[float], labels: Sequence[str] = ()) -> tuple[Detection, ...]:
    """The objects in a result's `outputs`, best first."""
    rows = [outputs[i : i + ROW] for i in range(0, len(outputs), ROW)]
    return tuple(
        Detection(_label(labels, int(row[0])), row[1], row[2], row[3], row[4], row[5])
        for row in rows
    )


def detection(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    """The function that lists the objects of an image.

    Options: `max_detections`; and where the file has no suppression of its own:
    `iou`, above which a box of the same class is suppressed, `boxes` (one of
    `FORMATS`), `anchors` as rows of (y, x, height, width), `scale` of their
    encodings, `activation` of the scores, `background` if class 0 is none.

    Raises:
        ManifestError: options or labels that do not fit the model's outputs.
    """
    limit = options.integer("max_detections", default=20)
    if limit < 1:
        raise ManifestError(f"outputs.postprocess.max_detections is {limit}; 1 is the least")
    threshold = 0.5 if spec.threshold is None else spec.threshold
    find = _finished(outputs) if DETECTION_OP in outputs.final_ops else None
    if find is None:
        find = _candidates(spec, outputs, options, threshold, limit)
    labels = spec.labels

    def detect(raw: Sequence[Array], _: Floats) -> Answer:
        boxes, classes, scores = find(raw)
        order = np.argsort(-scores, kind="stable")[:limit]
        order = order[scores[order] >= threshold]
        rows = np.column_stack([classes[order], scores[order], boxes[order]])
        if not (np.isfinite(scores).all() and np.isfinite(rows).all()):
            return None, math.nan, ()
        numbers = tuple(rows.ravel().tolist())
        if not numbers:
            return None, float(scores.max()) if scores.size else 0.0, ()
        return _label(labels, int(numbers[0])), numbers[1], numbers

    return detect


Found = tuple[Floats, Floats, Floats]
"""Boxes (n, 4) as corners, classes (n,), scores (n,)."""


def _finished(outputs: Outputs) -> Callable[[Sequence[Array]], Found]:
    """For a file that ends in the postprocessing operator."""
    at = {ROLES[slot]: i for i, slot in enumerate(outputs.final_slots) if slot < len(ROLES)}
    if len(at) != len(ROLES):
        raise ManifestError(f"a detection model gives {', '.join(ROLES)}; this one only {list(at)}")
    decoders = [decoder(tensor) for tensor in outputs.tensors]

    def find(raw: Sequence[Array]) -> Found:
        values = {role: decoders[i](raw[i]) for role, i in at.items()}
        boxes, scores = values["boxes"].reshape(-1, 4), values["scores"].ravel()
        count = float(values["count"].ravel()[0])
        made = slice(int(count) if 0 <= count <= scores.size else None)
        return boxes[made], values["classes"].ravel()[made], scores[made]

    return find


def _candidates(
    spec: OutputSpec, outputs: Outputs, options: Fields, threshold: float, limit: int
) -> Callable[[Sequence[Array]], Found]:
    """For a file that gives a box and scores for every anchor."""
    box_at, score_at = _which(outputs.tensors)
    boxes_of = decoder(outputs.tensors[box_at])
    scores_of = decoder(outputs.tensors[score_at])
    count, classes = outputs.tensors[score_at].shape[-2:]
    first = 1 if options.boolean("background", default=False) else 0
    if spec.labels and len(spec.labels) != classes - first:
        raise ManifestError(
            f"outputs.labels names {len(spec.labels)} labels but the model scores "
            f"{classes - first} classes"
        )
    activate = activation_of(options, outputs.final_ops[score_at], "sigmoid")
    to_corners = _box_format(options, count)
    iou = options.number("iou", default=0.5)
    if not 0 <= iou <= 1:
        raise ManifestError(f"outputs.postprocess.iou is {iou}; an overlap is 0 to 1")

    def find(raw: Sequence[Array]) -> Found:
        all_scores = activate(scores_of(raw[score_at]).reshape(count, classes))[:, first:]
        best = all_scores.argmax(axis=1)
        scores = all_scores[np.arange(count), best]
        boxes = to_corners(boxes_of(raw[box_at]).reshape(count, 4))
        if not np.isfinite(scores).all():
            return boxes, best.astype(np.float32), scores
        # The best of all says how near the image came, where none is near enough.
        chosen = np.flatnonzero(scores >= min(threshold, scores.max()))
        kept = chosen[suppress(boxes[chosen], scores[chosen], best[chosen], iou, limit)]
        return boxes[kept], best[kept].astype(np.float32), scores[kept]

    return find


def suppress(boxes: Floats, scores: Floats, classes: Array, iou: float, limit: int) -> Array:
    """Greedy non-maximum suppression: of boxes of one class that overlap, the best stays.

    Args:
        boxes: (n, 4) corners: ymin, xmin, ymax, xmax.
        scores: (n,).
        classes: (n,); only boxes of the same class suppress each other.
        iou: the overlap, intersection over union, above which a box is dropped.
        limit: how many stay at most.

    Returns:
        Indices of those that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    area = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    kept: list[int] = []
    while order.size and len(kept) < limit:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        union = area[best] + area[rest] - common
        over = common > iou * union
        order = rest[~(over & (classes[rest] == classes[best]))]
    return np.array(kept, np.intp)


def _which(tensors: Sequence[TensorSpec]) -> tuple[int, int]:
    """Which of two outputs holds boxes, and which scores."""
    if len(tensors) == 2:
        for box, score in ((0, 1), (1, 0)):
            boxes, scores = tensors[box].shape, tensors[score].shape
            if len(boxes) >= 2 and len(scores) >= 2 and boxes[-1] == 4 and boxes[-2] == scores[-2]:
                return box, score
    shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
    raise ManifestError(
        f"a detection model gives boxes (n, 4) and scores (n, classes), or ends in "
        f"{DETECTION_OP}; this one gives {shapes}"
    )


def _box_format(options: Fields, count: int) -> Callable[[Floats], Floats]:
    name = options.optional_text("boxes") or ("anchors" if "anchors" in options.raw else "corners")
    if name == "corners":
        return lambda boxes: boxes
    if name == "centres":
        return _from_centres
    if name != "anchors":
        raise ManifestError(
            f"outputs.postprocess.boxes {name!r} is none of {', '.join(FORMATS)}"
            f"{nearest(name, FORMATS)}"
        )
    try:
        anchors = np.array(options.items("anchors"), np.float32)
    except (ValueError, TypeError) as exc:
        raise ManifestError(f"outputs.postprocess.anchors is not a list of boxes ({exc})") from exc
    if anchors.shape != (count, 4) or not np.isfinite(anchors).all():
        raise ManifestError(
            f"outputs.postprocess.anchors has the shape {list(anchors.shape)}; "
            f"the model has {count} boxes of 4 finite numbers"
        )
    scale = np.array(options.numbers("scale") or _SSD_SCALE, np.float32)
    if scale.shape != (4,) or not (scale > 0).all():
        raise ManifestError("outputs.postprocess.scale should be 4 numbers above zero")

    def from_anchors(encoded: Floats) -> Floats:
        away = encoded / scale
        centre = away[:, :2] * anchors[:, 2:] + anchors[:, :2]
        return _from_centres(np.hstack([centre, np.exp(away[:, 2:]) * anchors[:, 2:]]))

    return from_anchors


def _from_centres(boxes: Floats) -> Floats:
    half = boxes[:, 2:] * np.float32(0.5)
    return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if 0 <= index < len(labels) else f"class {index}"
