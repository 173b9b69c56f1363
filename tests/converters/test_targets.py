"""What a target allows, and what it says a model costs, each from the source it names."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import ConfigError, ConversionError
from edgeml_converters.targets import TARGETS, estimate, find_target
from edgeml_converters.targets.armlab import VARIABLE
from edgeml_converters.targets.fitting import allowed_schemes, check_fits, misfits
from edgeml_converters.targets.target import ArmCore, Target

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
FLOAT = (FIXTURES / "classifier_float.tflite").read_bytes()
INT8 = (FIXTURES / "classifier_int8.tflite").read_bytes()


def test_every_target_of_the_documentation_is_there() -> None:
    named = "pi3 pi4 pi5 zero2w jetson cpu-arm64 cpu-armv7 edgetpu ethos-u55-128 ethos-u65-256"
    assert list(TARGETS) == named.split()
    assert all(name == target.name for name, target in TARGETS.items())


def test_a_typo_in_a_target_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ethos-u55-128'"):
        find_target("ethos-u55-12")


def test_auto_tries_only_what_the_target_takes() -> None:
    every = ("float32", "float16", "dynamic", "int8", "int16x8")
    assert allowed_schemes(every, find_target("edgetpu"), asked=False) == ("int8",)
    assert allowed_schemes(every, find_target("pi3"), asked=False) == every


def test_a_scheme_that_somebody_asked_for_is_refused_where_it_does_not_run() -> None:
    with pytest.raises(ConfigError, match="Coral Edge TPU runs int8, not float16"):
        allowed_schemes(("float16",), find_target("edgetpu"), asked=True)


def test_int4_is_refused_where_the_interpreter_knows_none() -> None:
    with pytest.raises(ConfigError, match="32-bit ARM"):
        allowed_schemes(("int4",), find_target("cpu-armv7"), asked=True)


def _without(*operators: str, elsewhere: str = "") -> Target:
    core = ArmCore("arm64", "pi4", "Cortex-A72")
    kept = find_target("pi4").operators - set(operators)
    return Target("narrow", "A narrow one", ("float32",), core, kept, elsewhere)


def test_an_operator_that_the_target_lacks_is_named_with_its_layer() -> None:
    found = misfits(FLOAT, _without("FULLY_CONNECTED"))
    assert found
    assert all(line.startswith("FULLY_CONNECTED of layer '") for line in found)
    assert not any(line.endswith("layer ''") for line in found)
    with pytest.raises(ConversionError, match="A narrow one does not run FULLY_CONNECTED of layer"):
        check_fits(FLOAT, _without("FULLY_CONNECTED"))


def test_where_a_cpu_takes_the_rest_the_operator_is_a_warning() -> None:
    (warning,) = check_fits(FLOAT, _without("SOFTMAX", elsewhere="on the CPU beside it"))
    assert "SOFTMAX of layer" in warning
    assert warning.endswith("run on the CPU beside it")


def test_a_file_that_fits_has_nothing_said_of_it() -> None:
    assert check_fits(INT8, find_target("pi4")) == ()
    assert check_fits(INT8, find_target("edgetpu")) == ()


def test_velas_own_figures_place_an_int8_model_on_the_accelerator() -> None:
    for name in ("ethos-u55-128", "ethos-u65-256"):
        said = estimate(find_target(name), {"int8": INT8})["int8"]
        assert said.source.startswith("Vela ")
        assert said.figures["operators_on_npu"] > 0
        assert said.figures["operators_on_cpu"] == 0
        assert said.figures["cycles"] > 100
        assert said.figures["inference_ms"] > 0
        assert said.figures["sram_bytes"] > 0


def test_vela_names_the_layers_of_a_float_model_that_stay_on_the_cpu() -> None:
    said = estimate(find_target("ethos-u55-128"), {"float32": FLOAT})["float32"]
    assert said.figures["operators_on_npu"] == 0
    assert any("runs on the CPU" in remark for remark in said.remarks)


def test_a_file_that_vela_refuses_is_an_estimate_without_figures() -> None:
    said = estimate(find_target("ethos-u55-128"), {"broken": INT8[:200]})["broken"]
    assert said.figures == {}
    assert "refused the file" in said.source


def test_the_edge_tpus_rules_stop_at_the_first_foreign_operator() -> None:
    target = find_target("edgetpu")
    said = estimate(target, {"int8": INT8})["int8"]
    assert said.figures["operators_on_tpu"] == said.figures["operators"] > 1
    assert "closed" in said.source
    assert said.command.startswith("edgetpu_compiler ")
    narrow = replace(target, operators=target.operators - {"SOFTMAX"})
    figures = estimate(narrow, {"int8": INT8})["int8"].figures
    assert 0 < figures["operators_on_tpu"] < figures["operators"]


def test_without_an_emulated_core_the_estimate_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    said = estimate(find_target("pi4"), {"int8": INT8})["int8"]
    assert said.figures == {}
    assert VARIABLE in said.source


def _lab(folder: Path, body: str) -> str:
    script = folder / "lab.py"
    script.write_text(body, "utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return os.fspath(script)


def test_the_lab_is_asked_for_the_targets_own_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = (
        "import json, sys\n"
        "assert sys.argv[1:5] == ['cost', 'arm64', '--core', 'pi5'], sys.argv\n"
        "print(json.dumps({path: 1000 + i for i, path in enumerate(sys.argv[5:])}))\n"
    )
    monkeypatch.setenv(VARIABLE, _lab(tmp_path, echo))
    said = estimate(find_target("pi5"), {"int8": INT8, "float32": FLOAT})
    assert said["int8"].figures == {"instructions": 1000}
    assert said["float32"].figures == {"instructions": 1001}
    assert "Cortex-A76" in said["int8"].source


@pytest.mark.parametrize(
    "body", ["import sys; sys.exit('lab: no qemu here')", "print('not JSON')", "print('[]')"]
)
def test_a_lab_that_cannot_count_costs_the_estimate_and_not_the_conversion(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, _lab(tmp_path, body))
    said = estimate(find_target("pi4"), {"int8": INT8})["int8"]
    assert said.figures == {}
    assert said.source.startswith("none: the ARM lab gave no count")


def test_convert_tries_what_the_target_takes_and_says_what_it_costs(
    model: Any, data: Any, held_out: Any, spec: Any
) -> None:
    from edgeml_converters import convert

    made = convert(model, data[0], spec=spec, evaluation=held_out, target="ethos-u55-128")
    assert {one.scheme for one in made.candidates} == {"int8", "int16x8"}
    assert made.chosen_estimate is not None
    assert made.chosen_estimate.figures["operators_on_npu"] > 0
    document = json.loads(json.dumps(made.as_json()))
    assert document["estimates"][made.chosen.scheme]["source"].startswith("Vela")
