"""How a machine comes to be: Debian packages unpacked, wheels added, one venv around both.

A machine is a folder. `root` holds Debian's own ARM Python; `view/CORE` is what the
emulator shows the guest in front of the workstation's files (libraries, and a
/proc/cpuinfo of that core); `venv` is an ordinary virtual environment, except that
its `python` is a script which enters the emulator. Because that script is the
guest's argv[0], it is also the guest's `sys.executable`: every child that Python
starts, spawns or kills goes through it, and the workstation's kernel can run it.

`stamp` is written last and names the recipe. A folder with another stamp, or with
none because a build was cut short, is built again from nothing.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from armlab import host
from armlab.errors import LabError
from armlab.machines import PYTHON_VERSION, SUITE, Machine

_CHECKOUT: Final = Path(__file__).resolve().parents[3]
_RECIPE_SOURCES: Final = (Path(__file__), Path(__file__).with_name("machines.py"))
_ALTERNATIVES: Final = ("blas/libblas.so.3", "lapack/liblapack.so.3")
_SHOWN_TO_THE_GUEST: Final = ("lib", "usr")


def folder(machine: Machine) -> Path:
    """Where this machine lives; nothing need be there yet."""
    return host.lab_folder() / machine.name


def site_packages(machine: Machine) -> Path:
    """The machine's own site-packages."""
    return folder(machine) / "venv" / "lib" / f"python{PYTHON_VERSION}" / "site-packages"


def prepare(machine: Machine) -> Path:
    """Build the machine unless its stamp says that it stands; return its folder.

    Two processes may call this at once: the second waits for the first.

    Raises:
        LabError: a tool is missing, or apt or pip failed.
    """
    place = folder(machine)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _only_one_builder(place):
        host.require_tools()
        wanted = recipe_digest(machine)
        stamp = place / "stamp"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return place
        started_s = time.monotonic()
        shutil.rmtree(place, ignore_errors=True)
        _build(machine, place)
        stamp.write_text(wanted, encoding="utf-8")
        _say(machine, f"ready in {time.monotonic() - started_s:.0f} s")
    return place


def recipe_digest(machine: Machine) -> str:
    """What a machine is made of, as one hash: recipe, requirements, emulator, place.

    The place counts because the machine's files name it: a moved folder is another machine.
    """
    digest = hashlib.sha256()
    for path in (*_RECIPE_SOURCES, requirements_file(machine)):
        digest.update(path.read_bytes())
    digest.update(f"{folder(machine)} {host.emulator(machine.qemu)}".encode())
    return digest.hexdigest()


def requirements_file(machine: Machine) -> Path:
    """The hashed requirements of the machine's site-packages."""
    return _CHECKOUT / "requirements" / f"{machine.name}.txt"


def install_wheel(machine: Machine, wheel: Path) -> None:
    """Make `wheel` the one project wheel of the machine; nothing of an earlier one stays.

    Raises:
        LabError: there is no such file, or pip refused it.
    """
    if not wheel.is_file():
        raise LabError(f"{wheel}: no such wheel; build one with: python -m build --wheel")
    place = folder(machine)
    with _only_one_builder(place):
        stamp = place / "wheel.stamp"
        wanted = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        stamp.unlink(missing_ok=True)
        target = place / "wheel"
        shutil.rmtree(target, ignore_errors=True)
        _pip(machine, target, "--no-deps", str(wheel))
        site_packages(machine).joinpath("wheel.pth").write_text(f"{target}\n", encoding="utf-8")
        stamp.write_text(wanted, encoding="utf-8")
    _say(machine, f"installed {wheel.name}")


def _build(machine: Machine, place: Path) -> None:
    for part in ("root", "apt/lists/partial", "apt/cache/archives/partial"):
        (place / part).mkdir(parents=True)
    _say(machine, f"fetching Debian {SUITE} packages")
    fetched = _fetch_debian(machine, place / "apt")
    for package in fetched:
        host.run_quietly(["dpkg-deb", "-x", str(package), str(place / "root")], package.name)
    _say(machine, f"unpacked {len(fetched)} packages, {_megabytes(fetched):.0f} MB")
    shutil.rmtree(place / "apt")
    _choose_alternatives(machine, place / "root")
    for name in machine.cores:
        _make_view(machine, place, name)
    _make_venv(machine, place)
    _say(machine, "installing wheels")
    requirements = str(requirements_file(machine))
    _pip(machine, site_packages(machine), "--require-hashes", "--no-deps", "-r", requirements)
    _compile(machine, place)


def _fetch_debian(machine: Machine, apt: Path) -> list[Path]:
    """Download the machine's packages with an apt that knows nothing of the workstation's own."""
    archive = host.debian_archive()
    source = f"deb [signed-by={host.DEBIAN_KEYRING}] {archive} {SUITE} main\n"
    (apt / "sources.list").write_text(source, encoding="utf-8")
    (apt / "status").touch()
    settings = {
        "APT::Architecture": machine.name,
        "APT::Architectures": machine.name,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": apt / "status",
    }
    command = ["apt-get", "--quiet"]
    for key, value in settings.items():
        command += ["-o", f"{key}={value}"]
    host.run_quietly([*command, "update"], f"reading {archive}'s index of {machine.name}")
    install = ["install", "--yes", "--download-only", *machine.debian_packages]
    host.run_quietly([*command, *install], f"fetching {machine.name} packages from {archive}")
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _choose_alternatives(machine: Machine, root: Path) -> None:
    """What update-alternatives would do on a real board: the reference BLAS and LAPACK."""
    libraries = root / "usr" / "lib" / machine.triple
    for library in _ALTERNATIVES:
        if (libraries / library).exists():
            (libraries / Path(library).name).symlink_to(library)


def _make_view(machine: Machine, place: Path, core: str) -> None:
    view = place / "view" / core
    (view / "proc").mkdir(parents=True)
    (view / "proc" / "cpuinfo").write_text(machine.core(core).cpuinfo(), encoding="utf-8")
    for part in _SHOWN_TO_THE_GUEST:
        (view / part).symlink_to(place / "root" / part)


def _make_venv(machine: Machine, place: Path) -> None:
    venv = place / "venv"
    (venv / "bin").mkdir(parents=True)
    site_packages(machine).mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(
        f"home = {place}/root/usr/bin\ninclude-system-site-packages = true\n", encoding="utf-8"
    )
    cases = "".join(f"{name}) cpu={core.qemu_cpu} ;;\n" for name, core in machine.cores.items())
    known = ", ".join(machine.cores)
    script = venv / "bin" / "python"
    script.write_text(
        "#!/bin/sh\n"
        f"core=${{EDGEML_ARMLAB_CORE:-{machine.default_core}}}\n"
        f"case $core in\n{cases}"
        f'*) echo "EDGEML_ARMLAB_CORE=$core: {machine.name} has {known}" >&2; exit 2 ;;\n'
        "esac\n"
        f'exec {host.emulator(machine.qemu)} -cpu "$cpu" -L "{place}/view/$core" -0 "{script}" '
        f'"{place}/root/usr/bin/python{PYTHON_VERSION}" "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)


def _compile(machine: Machine, place: Path) -> None:
    """Compile every module once, so that no later start, and no instruction count, pays for it."""
    folders = [str(place / "root" / "usr" / "lib"), str(place / "venv" / "lib")]
    python = str(place / "venv" / "bin" / "python")
    # A template that is not Python makes compileall end with 1; it stays as it is.
    tolerated = f'"{python}" -m compileall -q -j 2 "$@" || true'
    host.run_quietly(["/bin/sh", "-c", tolerated, "compile", *folders], "compiling modules")


def _pip(machine: Machine, target: Path, *arguments: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise LabError(f"{sys.executable} has no pip; add it with: python -m ensurepip")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    command += ["--target", str(target), "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", PYTHON_VERSION]
    for platform in machine.wheel_platforms():
        command += ["--platform", platform]
    host.run_quietly([*command, *arguments], f"pip for {machine.name}")


@contextmanager
def _only_one_builder(place: Path) -> Iterator[None]:
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _megabytes(files: list[Path]) -> float:
    return sum(file.stat().st_size for file in files) / 1e6


def _say(machine: Machine, what: str) -> None:
    print(f"[{machine.name}] {what}", file=sys.stderr, flush=True)
