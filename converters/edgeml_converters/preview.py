"""What a person should see of the data: one real window on its way in, and each channel's range."""

import numpy as np

from edgeml.preprocess import Pipeline
from edgeml_converters.analysis import ChannelRange, Stage, WindowShown
from edgeml_converters.samples import Samples
from edgeml_converters.spec import Spec


def show_window(spec: Spec, samples: Samples) -> WindowShown:
    """The window whose values vary most like the others': raw, and after each step.

    Args:
        spec: its preprocessing.
        samples: to choose from.
    """
    spread = samples.windows.reshape(len(samples), -1).std(axis=1)
    index = int(np.argsort(spread, kind="stable")[len(spread) // 2])
    raw = samples.windows[index]
    stages = [Stage("raw", {}, raw)]
    for i, step in enumerate(spec.preprocess, 1):
        pipeline = Pipeline.from_steps(
            spec.preprocess[:i], spec.inputs.shape, spec.inputs.sample_rate_hz
        )
        stages.append(Stage(step.step, dict(step.params), pipeline(raw)))
    return WindowShown(index, _label(spec, samples, index), tuple(stages))


def _label(spec: Spec, samples: Samples, index: int) -> str | None:
    if samples.labels is None:
        return None
    value = samples.labels[index]
    if spec.outputs.task == "classification":
        return spec.outputs.labels[int(value)]
    if spec.outputs.task == "anomaly":
        return "anomaly" if value else "normal"
    return np.array2string(np.asarray(value), precision=4, threshold=4)


def channel_ranges(spec: Spec, samples: Samples) -> tuple[ChannelRange, ...]:
    """What the calibration windows hold, channel by channel."""
    flat = samples.windows.reshape(-1, spec.inputs.shape[-1])
    levels = np.quantile(flat, (0.0, 0.01, 0.5, 0.99, 1.0), axis=0)
    return tuple(
        ChannelRange(channel.name, channel.unit, *(float(level) for level in levels[:, i]))
        for i, channel in enumerate(spec.inputs.channels)
    )
