"""Classify a recording, window by window, with nothing but the model file."""

import numpy as np

from edgeml import Model

recording = np.loadtxt("examples/walk.csv", delimiter=",", skiprows=1, dtype=np.float32)[:, 1:]

with Model.load("models/activity/activity.tflite") as model:
    result = model.predict(recording[:100])
    print(f"{result.label} {result.score:.2f} in {result.invoke_us:.0f} µs")
