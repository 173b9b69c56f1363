"""What goes into each environment, and what makes two of them the same.

An environment is known by a digest of all that decides its content: the locked
requirements, this Python, this processor, and which PyTorch it holds. Nothing
here touches the disk but to read the lock that ships beside this file.
"""

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Final

_LOCKS: Final = Path(__file__).parent
TORCH_PIN: Final = "2.13.0"
TORCH_LOWEST: Final = (2, 9)
TORCH_BELOW: Final = (2, 15)
"""litert-torch 0.10 takes no newer one, and .pt2 files have had their present form since 2.9."""


@dataclass(frozen=True, slots=True)
class OwnTorch:
    """The PyTorch that is installed beside edgeml.

    Attributes:
        version: "2.13.0+cpu".
        folder: its site-packages.
    """

    version: str
    folder: Path

    @property
    def members(self) -> tuple[Path, ...]:
        """The files and folders that are PyTorch, without what it depends on."""
        named = [self.folder / name for name in ("torch", "torchgen", "functorch")]
        described = self.folder.glob(f"torch-{self.version}.dist-info")
        return tuple(path for path in (*named, *described) if path.exists())


@dataclass(frozen=True, slots=True)
class Recipe:
    """An environment to be.

    Attributes:
        name: "torch".
        purpose: what it converts, for messages.
        megabytes: about what it takes on disk, without PyTorch.
        with_torch: whether it needs PyTorch.
    """

    name: str
    purpose: str
    megabytes: int
    with_torch: bool = False

    @property
    def lock(self) -> Path:
        """The requirements, pinned and hashed."""
        return _LOCKS / f"{self.name}.txt"

    @property
    def packages(self) -> int:
        """How many packages the lock names, for the progress bar."""
        names = re.findall(r"^([\w.-]+)==", self.lock.read_text("utf-8"), re.MULTILINE)
        return len(set(names))

    def key(self, own: OwnTorch | None) -> str:
        """What names its folder: the same where the content is the same."""
        parts = [
            self.lock.read_text("utf-8"),
            f"{sys.implementation.cache_tag} {sys.version_info[:3]} {sys.base_prefix}",
            f"{sys.platform} {platform.machine()}",
        ]
        if self.with_torch:
            parts.append(f"{own.folder} {own.version}" if own else f"torch {TORCH_PIN}")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


TORCH: Final = Recipe("torch", "PyTorch models", 1400, with_torch=True)
ONNX: Final = Recipe("onnx", "ONNX models", 700 if sys.version_info >= (3, 12) else 2600)


def own_torch() -> OwnTorch | None:
    """The PyTorch that is installed here, where litert-torch can work with it."""
    spec = util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
    own = OwnTorch(version, Path(spec.submodule_search_locations[0]).resolve().parent)
    return own if fits(version) else None


def fits(version: str) -> bool:
    """Whether litert-torch can work with this PyTorch."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and TORCH_LOWEST <= (int(match[1]), int(match[2])) < TORCH_BELOW
