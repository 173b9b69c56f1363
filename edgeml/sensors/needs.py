"""Which package a driver needs, and what to type when it is not there."""

from importlib import import_module
from typing import Any, Final

from edgeml.errors import MissingDependencyError

PACKAGES: Final = {
    "PIL.Image": "pillow",
    "cv2": "opencv-python-headless",
    "serial": "pyserial",
    "smbus2": "smbus2",
    "sounddevice": "sounddevice",
}
"""Where the name to install is not the name to import."""


def needed(module: str, why: str) -> Any:
    """The module, imported now and not before.

    Args:
        module: the name to import, one of `PACKAGES`.
        why: what asks for it, for the message.

    Raises:
        MissingDependencyError: it is not installed, or lacks a system library.
    """
    try:
        return import_module(module)
    except ImportError as exc:
        raise MissingDependencyError(
            f"{why} needs {PACKAGES[module]}: pip install {PACKAGES[module]}, "
            "or install the edgeml wheel with its extra: edgeml-….whl[sensors]"
        ) from exc
    except OSError as exc:
        raise MissingDependencyError(
            f"{why} needs {PACKAGES[module]}, which is installed but lacks a library of the "
            f"system ({exc}); on Debian and Raspberry Pi OS: sudo apt install libportaudio2"
        ) from exc
