"""Makes an environment once, whoever else wants it and whatever interrupts.

It is built in a folder beside its final one, under a lock, and renamed when it
is whole: what is there is complete, and what was ended half-way is thrown away
by the next who builds. The folder is found by the recipe's key, so a new
release of edgeml with other pins makes another.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from edgeml.cli.output import Progress
from edgeml.errors import MissingDependencyError
from edgeml_converters.environments.recipes import TORCH_PIN, OwnTorch, Recipe, own_torch

CACHE_VARIABLE: Final = "EDGEML_CACHE"
SPARE: Final = 2.0
"""How much of its size must be free: what is unpacked, and what pip keeps while it unpacks."""
_CPU_TORCH_MB: Final = 750


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is ready.

    Attributes:
        name: "torch".
        folder: where it is.
    """

    name: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return _python(self.folder)


def cache_folder() -> Path:
    """Where environments are kept: EDGEML_CACHE, else the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute() / "environments"
    base = os.environ.get("XDG_CACHE_HOME")
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "edgeml" / "environments"


def ready(recipe: Recipe) -> Environment:
    """An environment for a recipe: the one that is there, or one that is made now.

    Raises:
        MissingDependencyError: it cannot be made: no network, no space, no wheel for
            this machine.
    """
    own = own_torch() if recipe.with_torch else None
    folder = cache_folder() / f"{recipe.name}-{recipe.key(own)}"
    made = Environment(recipe.name, folder)
    if made.python.exists():
        return made
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock"), recipe) as lock:
            if not made.python.exists():
                _Build(recipe, own, folder, lock).run()
    except OSError as exc:
        raise MissingDependencyError(
            f"{folder}: cannot be made ({exc.strerror or exc}); {CACHE_VARIABLE} can name another "
            "place"
        ) from exc
    return made


@contextlib.contextmanager
def _locked(path: Path, recipe: Recipe) -> Iterator[int]:
    """Hold a lock that ends with this process and its pip, however they end; gives its number."""
    import fcntl

    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another conversion is making the environment for {recipe.purpose}; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


class _Build:
    """One attempt at an environment, in a folder that is renamed when it is whole."""

    def __init__(self, recipe: Recipe, own: OwnTorch | None, folder: Path, lock: int) -> None:
        self._recipe = recipe
        self._own = own
        self._folder = folder
        self._part = folder.with_suffix(".part")
        self._lock = lock
        self._pinned = recipe.with_torch and own is None

    def run(self) -> None:
        recipe, total = self._recipe, self._recipe.packages + self._pinned
        shutil.rmtree(self._part, ignore_errors=True)
        size_mb = recipe.megabytes + (_CPU_TORCH_MB if self._pinned else 0)
        _check_space(self._folder.parent, size_mb)
        self._announce(size_mb)
        try:
            with Progress(f"the environment for {recipe.purpose}", total) as bar:
                bare = ["--without-pip"] * _has_pip()
                self._call([sys.executable, "-m", "venv", *bare, str(self._part)], bar)
                self._link_torch()
                self._pip(["--require-hashes", "--no-deps", "-r", str(recipe.lock)], bar)
                if self._pinned:
                    self._install_torch(bar)
                bar.update(total, "done")
            self._part.rename(self._folder)
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _announce(self, size_mb: int) -> None:
        _say(
            f"the first conversion of {self._recipe.purpose} installs about "
            f"{self._recipe.packages} packages, {size_mb / 1000:.1f} GB, into {self._folder}; "
            "later ones find them there"
        )
        if self._own is not None:
            _say(f"PyTorch {self._own.version} is the one that is installed in {self._own.folder}")
        elif self._pinned:
            _say(
                f"PyTorch {TORCH_PIN}: the CPU build where your package index has it. Where it has "
                "only the CUDA build, as PyPI for x86-64, that is some 5 GB more: PyTorch's own "
                "index, in PIP_EXTRA_INDEX_URL, has the other"
            )

    def _link_torch(self) -> None:
        """Give the environment the PyTorch that is installed already, and nothing else of there."""
        site = next(iter(self._part.glob("lib/python*/site-packages")))
        for member in self._own.members if self._own is not None else ():
            (site / member.name).symlink_to(member)

    def _install_torch(self, bar: Progress) -> None:
        """Without hashes, because which build of PyTorch an index has is not ours to say."""
        try:
            self._pip(["--no-deps", f"torch=={TORCH_PIN}+cpu"], bar)
        except MissingDependencyError:
            self._pip([f"torch=={TORCH_PIN}"], bar)

    def _pip(self, arguments: list[str], bar: Progress) -> None:
        python = str(_python(self._part))
        pip = (
            [sys.executable, "-m", "pip", "--python", python]
            if _has_pip()
            else [python, "-m", "pip"]
        )
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        # Python compiles what a worker imports; all of it takes longer than the conversion.
        quiet.append("--no-compile")
        self._call([*pip, "install", *quiet, *arguments], bar)

    def _call(self, command: list[str], bar: Progress) -> None:
        """Run a step, its packages counted on the bar.

        The lock is the child's too: pip that outlives us still holds it, so that nobody
        builds in the folder where it is at work.

        Raises:
            MissingDependencyError: it failed; the message says what to do.
        """
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_TARGET")}
        lines: list[str] = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=kept,
            pass_fds=(self._lock,),
        ) as process:
            done = 0
            try:
                for line in process.stdout or ():
                    lines = [*lines[-50:], line.strip()]
                    if line.startswith("Collecting "):
                        done += 1
                        bar.update(done, line.split()[1].partition("==")[0])
                    elif line.startswith("Installing collected"):
                        bar.update(done, "installing")
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise MissingDependencyError(f"{_reason(lines)}. {_cure(self._recipe)}")


def _has_pip() -> bool:
    """Whether the pip beside us can install into another environment, which then needs none."""
    try:
        major, minor = metadata.version("pip").split(".")[:2]
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return (int(major), int(minor)) >= (22, 3)


def _reason(lines: list[str]) -> str:
    said = [line for line in lines if "ERROR" in line or "Error" in line] or lines or ["no output"]
    if any("NewConnectionError" in line or "NameResolution" in line for line in lines):
        return "the package index cannot be reached"
    if "(from versions: none)" in said[0]:
        return "the package index cannot be reached, or does not have what is needed"
    return f"pip failed: {said[0][:300]}"


def _cure(recipe: Recipe) -> str:
    return (
        f"Converting {recipe.purpose} needs packages from an index once. Without a network: on a "
        f"machine with one, pip download -d wheels -r {recipe.lock}"
        + (f" torch=={TORCH_PIN}" if recipe.with_torch else "")
        + "; then here PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels edgeml convert …"
    )


def _check_space(place: Path, size_mb: int) -> None:
    free_mb = shutil.disk_usage(place).free / 1e6
    if free_mb < SPARE * size_mb:
        raise MissingDependencyError(
            f"{place}: {free_mb:.0f} MB are free and {SPARE * size_mb:.0f} MB are needed while "
            f"installing; make room, or name another place in {CACHE_VARIABLE}"
        )


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _say(line: str) -> None:
    print(f"edgeml: {line}", file=sys.stderr, flush=True)
