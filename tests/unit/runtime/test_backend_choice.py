"""Which interpreter is used, and what is said where there is none."""

import pytest

from edgeml.errors import ConfigError, MissingDependencyError
from edgeml.runtime import backend
from edgeml.runtime.backend import BACKENDS, choose, installed
from edgeml.runtime.hints import install_hint


def test_the_first_installed_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEML_BACKEND", raising=False)
    assert choose() == installed()[0]


def test_the_environment_chooses_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    here = installed()[0]
    monkeypatch.setenv("EDGEML_BACKEND", here)
    assert choose() == here
    monkeypatch.setenv("EDGEML_BACKEND", "nonsense")
    assert choose(here) == here


def test_an_unknown_name_is_an_error_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'litert'"):
        choose("lite-rt")
    monkeypatch.setenv("EDGEML_BACKEND", "tf-lite")
    with pytest.raises(ConfigError, match=r"EDGEML_BACKEND 'tf-lite'.*did you mean 'tflite'"):
        choose()


def test_an_interpreter_that_is_not_installed_names_its_command() -> None:
    missing = [name for name in BACKENDS if name not in installed()]
    for name in missing:
        with pytest.raises(MissingDependencyError, match=BACKENDS[name].distribution):
            choose(name)


def test_no_interpreter_at_all_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEML_BACKEND", raising=False)
    monkeypatch.setattr(backend, "is_installed", lambda _: False)
    with pytest.raises(MissingDependencyError, match="no interpreter is installed"):
        choose()


@pytest.mark.parametrize(
    ("name", "machine", "version", "managed", "says", "not_says"),
    [
        (None, "x86_64", (3, 12), False, "pip install ai-edge-litert", "venv"),
        (None, "aarch64", (3, 11), False, "pip install ai-edge-litert", "tflite-runtime"),
        (None, "aarch64", (3, 11), True, "python3 -m venv", "tflite-runtime"),
        (None, "armv7l", (3, 11), False, "'tflite-runtime>=2.14,<2.15' 'numpy<2'", "litert"),
        (None, "armv7l", (3, 11), True, "python3 -m venv", "litert"),
        (None, "armv7l", (3, 12), False, "no wheel for Python 3.12", "pip install"),
        (None, "armv6l", (3, 13), True, "use Python 3.11", "pip install"),
        ("litert", "armv7l", (3, 11), False, "use the tflite backend", "pip install"),
        ("tflite", "x86_64", (3, 13), False, "or the litert backend", "pip install"),
        ("tflite", "x86_64", (3, 11), False, "'numpy<2'", "venv"),
    ],
)
def test_the_hint_fits_the_machine(
    name: str | None,
    machine: str,
    version: tuple[int, int],
    managed: bool,
    says: str,
    not_says: str,
) -> None:
    hint = install_hint(name, machine, version, managed)
    assert says in hint
    assert not_says not in hint
