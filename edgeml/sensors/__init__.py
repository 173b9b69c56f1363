"""Where samples come from: a source is any iterable of samples, one driver a file."""

from edgeml.sensors.replay import Replay
from edgeml.sensors.sample import Sample, Source, Window
from edgeml.sensors.window import Windower, WindowStats

__all__ = ["Replay", "Sample", "Source", "Window", "WindowStats", "Windower"]
