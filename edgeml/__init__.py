"""edgeml: a trained model on a Raspberry Pi or a Jetson, offline, with every result delivered.

Importing this package imports no interpreter, no MQTT client and no TUF
client; the names below load what they need when they are first used.
"""

from typing import TYPE_CHECKING

from edgeml.lazy import lazily
from edgeml.version import __version__

if TYPE_CHECKING:
    from edgeml.bundle import Bundle as Bundle
    from edgeml.device import Device as Device
    from edgeml.errors import EdgeMLError as EdgeMLError
    from edgeml.lane import Cascade as Cascade
    from edgeml.ota.settings import Updates as Updates
    from edgeml.result import ModelRef as ModelRef
    from edgeml.result import Result as Result
    from edgeml.runtime.model import Model as Model
    from edgeml.sampling import Samples as Samples
    from edgeml.sync.settings import Mqtt as Mqtt

_HOMES = {
    "Bundle": "edgeml.bundle",
    "Cascade": "edgeml.lane",
    "Device": "edgeml.device",
    "EdgeMLError": "edgeml.errors",
    "Model": "edgeml.runtime.model",
    "ModelRef": "edgeml.result",
    "Mqtt": "edgeml.sync.settings",
    "Result": "edgeml.result",
    "Samples": "edgeml.sampling",
    "Updates": "edgeml.ota.settings",
}

__all__ = [
    "Bundle",
    "Cascade",
    "Device",
    "EdgeMLError",
    "Model",
    "ModelRef",
    "Mqtt",
    "Result",
    "Samples",
    "Updates",
    "__version__",
]


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
