"""What a model said about one window, and which model said it."""

from typing import NamedTuple


class ModelRef(NamedTuple):
    """Which model: `digest` is the SHA-256 of the whole bundle file, in hex."""

    name: str
    version: int
    digest: str


class Result(NamedTuple):
    """One window's answer.

    A named tuple and not a frozen dataclass, because one is made for every
    window: 0.3 µs where a frozen dataclass of nine fields takes 1.0 µs.

    Attributes:
        model: the model that gave it.
        start_s: unix time of the window's first sample, in seconds.
        end_s: unix time of the window's last sample, in seconds.
        label: the winning label; None where the task has none.
        score: the winning label's score, the regression value or the anomaly score.
        outputs: the model's outputs after postprocessing, flattened.
        pre_us: time spent in preprocessing, in microseconds.
        invoke_us: time spent in the interpreter, in microseconds.
        post_us: time spent in postprocessing, in microseconds.
    """

    model: ModelRef
    start_s: float
    end_s: float
    label: str | None
    score: float
    outputs: tuple[float, ...]
    pre_us: float
    invoke_us: float
    post_us: float
