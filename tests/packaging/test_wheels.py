"""The wheels are what is tested, and the device wheel carries what a device needs and no more."""

import io
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_DEVICE_BYTES = 400 * 1024
MAX_WHEEL_BYTES = 590 * 1024
THE_OTHER_ENDS = ("broker", "demo", "fleet", "repo")
NOT_THE_DEVICES = (
    "edgeml/fleet/",
    "edgeml/demo/",
    *(f"edgeml/cli/{verb}.py" for verb in THE_OTHER_ENDS),
)
pytestmark = pytest.mark.workstation


@pytest.fixture(scope="session")
def device_wheel() -> Path:
    wheels = list((ROOT / "dist").glob("edgeml-*.whl"))
    assert len(wheels) == 1, f"one device wheel in dist/, not {wheels}; run: make setup"
    return wheels[0]


@pytest.fixture(scope="session")
def empty_environment(device_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the device wheel and what its own metadata asks for."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            str(device_wheel),
        ],
        check=True,
    )
    return python


def _run(python: Path, code: str) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _size_without(wheel: Path, left_out: tuple[str, ...]) -> int:
    """What a wheel would weigh without some of its files: the rest and its record, packed again."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(wheel) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as rest,
    ):
        for entry in archive.infolist():
            if entry.filename.startswith(left_out):
                continue
            data = archive.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):  # it has a line for each file there is
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if not line.startswith(left_out)).encode()
            rest.writestr(entry.filename, data)
    return len(packed.getvalue())


def test_the_tests_import_the_installed_wheels_not_the_checkout() -> None:
    import edgeml
    import edgeml_converters

    site = Path(sysconfig.get_path("purelib"))
    for package in (edgeml, edgeml_converters):
        assert package.__file__ is not None
        assert site in Path(package.__file__).parents


def test_what_a_device_uses_of_its_wheel_is_under_400_kb(device_wheel: Path) -> None:
    """The publisher's and receiver's end and the demonstration come with it (ADR 0017)."""
    assert _size_without(device_wheel, NOT_THE_DEVICES) < MAX_DEVICE_BYTES
    assert device_wheel.stat().st_size < MAX_WHEEL_BYTES


def test_the_device_wheel_carries_only_edgeml_with_its_types_and_its_licence(
    device_wheel: Path,
) -> None:
    with zipfile.ZipFile(device_wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edgeml"}
    assert "edgeml/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "convert" in name.lower()]


def test_neither_tensorflow_nor_converter_code_comes_to_a_device(empty_environment: Path) -> None:
    packages = _run(
        empty_environment,
        "from importlib.metadata import distributions as d; print(*(x.name for x in d()))",
    ).lower()
    assert "edgeml" in packages
    for unwanted in ("tensorflow", "keras", "edgeml-converters", "torch", "scipy"):
        assert unwanted not in packages.split()


def test_importing_edgeml_imports_no_interpreter_no_mqtt_and_no_tuf(
    empty_environment: Path,
) -> None:
    loaded = _run(empty_environment, "import edgeml, sys; print(*sorted(sys.modules))").split()
    roots = {name.split(".")[0] for name in loaded}
    assert not roots & {
        "ai_edge_litert",
        "tflite_runtime",
        "paho",
        "tuf",
        "securesystemslib",
        "numpy",
    }


def test_every_public_name_can_be_imported_on_a_device(empty_environment: Path) -> None:
    names = _run(
        empty_environment,
        "import edgeml; print(*(getattr(edgeml, n) is not None for n in edgeml.__all__))",
    )
    assert set(names.split()) == {"True"}


def test_the_convert_verb_says_what_to_install_on_a_device(empty_environment: Path) -> None:
    done = subprocess.run(
        [str(empty_environment), "-m", "edgeml", "convert", "model.keras"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 16
    assert "pip install edgeml-converters-*.whl" in done.stderr
    assert "Traceback" not in done.stderr
