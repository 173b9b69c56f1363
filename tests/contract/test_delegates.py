"""A delegate's library of our own: loaded, given its options, asked for the model, let go."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeml.errors import BackendError, ConfigError
from edgeml.runtime.backend import DelegateSpec, installed
from edgeml.runtime.bench import bench
from edgeml.runtime.model import Model
from edgeml.runtime.probe import probe

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = FIXTURES / "classifier_int8.tflite"
WINDOW = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)


def compiler_of_this_machine() -> bool:
    """Whether gcc makes libraries for it; an emulated board sees the workstation's."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        return False
    made_for = subprocess.run(["gcc", "-dumpmachine"], capture_output=True, text=True, check=False)
    return made_for.stdout.startswith(platform.machine())


pytestmark = pytest.mark.skipif(
    not compiler_of_this_machine(), reason="the library is made with this machine's own gcc"
)


@pytest.fixture(params=installed())
def backend(request: pytest.FixtureRequest) -> str:
    """Each interpreter that is installed here."""
    return str(request.param)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real external delegate, which takes no operator."""
    made = tmp_path_factory.mktemp("delegate") / "libnothing.so"
    source = FIXTURES / "delegate.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", made, source], check=True)
    return str(made)


def test_its_options_arrive_and_the_results_are_the_same_bits(
    backend: str, library: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    spec = DelegateSpec(library, {"out": str(told), "cores": "2"})
    with (
        Model.load(MODEL, backend=backend) as plain,
        Model.load(MODEL, backend=backend, delegate=spec, require_delegate=True) as model,
    ):
        assert model.info.delegate == library
        assert model.info.delegate_error is None
        assert model.run_raw(WINDOW).tolist() == plain.run_raw(WINDOW).tolist()
    assert sorted(told.read_text().split()) == ["cores=2", f"out={told}"]


@pytest.mark.parametrize("stage", ["create", "prepare"])
def test_one_that_fails_at_any_stage_falls_back_to_the_cpu_and_says_so(
    backend: str, library: str, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec = DelegateSpec(library, {"fail": stage})
    with (
        Model.load(MODEL, backend=backend) as plain,
        Model.load(MODEL, backend=backend, delegate=spec) as model,
    ):
        assert model.info.delegate is None
        assert library in str(model.info.delegate_error)
        assert model.run_raw(WINDOW).tolist() == plain.run_raw(WINDOW).tolist()
    assert "runs on the CPU" in caplog.text
    with pytest.raises(BackendError, match="libnothing"):
        Model.load(MODEL, backend=backend, delegate=spec, require_delegate=True)


def test_a_library_that_is_no_delegate_is_named(backend: str) -> None:
    with pytest.raises(BackendError, match=r"cannot be loaded from libm\.so\.6"):
        Model.load(MODEL, backend=backend, delegate="libm.so.6", require_delegate=True)


def test_the_machine_may_say_how_every_model_runs(
    backend: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("EDGEML_DELEGATE", f"{library} out={told} cores=2")
    monkeypatch.setenv("EDGEML_THREADS", "2")
    with Model.load(MODEL, backend=backend) as model:
        assert (model.info.delegate, model.info.threads) == (library, 2)
    assert sorted(told.read_text().split()) == ["cores=2", f"out={told}"]
    with Model.load(MODEL, backend=backend, delegate="none", threads=1) as model:
        assert (model.info.delegate, model.info.threads) == ("none", 1)
    for report in (probe(MODEL, backend=backend).as_dict(), bench(MODEL, 3, backend=backend)):
        assert (report["delegate"], report["threads"]) == (library, 2)
        assert report["delegate_error"] is None


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_threads_that_are_no_number_are_refused(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEML_THREADS", threads)
    with pytest.raises(ConfigError, match=f"threads is {threads}; .* at least one"):
        Model.load(MODEL)


def test_xnnpack_computes_with_the_threads_asked_for(backend: str) -> None:
    with Model.load(MODEL, backend=backend, delegate="xnnpack", threads=2) as model:
        assert (model.info.delegate, model.info.threads) == ("xnnpack", 2)
        assert model.predict(WINDOW).score > 0
