"""Names that a package offers and loads when they are first used.

It does without `importlib`, whose import takes as long as that of ten of our modules.
"""

import sys
from collections.abc import Callable, Mapping
from types import ModuleType


def load(name: str) -> ModuleType:
    """The module of that full name, imported if it is not yet.

    Raises:
        ImportError: as an import statement does.
    """
    __import__(name)
    return sys.modules[name]


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a package.

    Args:
        package: its full name, for messages.
        homes: each name to the full name of the module that has it.
    """

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(load(home), name)

    return get
