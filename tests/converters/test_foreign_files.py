"""What of PyTorch's and ONNX's files is decided before anything of theirs is loaded."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import ConversionError
from edgeml_converters import Spec, convert
from edgeml_converters.inspection import pack_model, unpack_model
from edgeml_converters.modern import modernised
from edgeml_converters.sources import layout, onnx_file, open_source, pt2_file, torch_module

PROGRAM: dict[str, Any] = {
    "graph_module": {
        "graph": {
            "nodes": [{"target": "torch.ops.aten.relu.default"}],
            "tensor_values": {"x": {"sizes": [{"as_int": 1}, {"as_expr": {"expr_str": "s77"}}]}},
        }
    },
    "guards_code": [],
}


def program(path: Path, **changes: Any) -> Path:
    """A .pt2 with everything in it that is looked at, some of it changed."""
    document = json.loads(json.dumps(PROGRAM))
    graph = document["graph_module"]["graph"]
    graph["nodes"].append({"target": changes.get("target", "_operator.getitem")})
    if "size" in changes:
        graph["tensor_values"]["x"]["sizes"][1]["as_expr"]["expr_str"] = changes["size"]
    document["guards_code"] = changes.get("guards", [])
    weights = {
        "config": {"w": {"path_name": "weight_0", "use_pickle": changes.get("pickle", False)}}
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/models/model.json", json.dumps(document))
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(weights))
        archive.writestr("m/data/weights/weight_0", bytes(64))
    return path


def test_a_plain_program_is_let_through(tmp_path: Path) -> None:
    pt2_file.check(program(tmp_path / "plain.pt2"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "torch.os.system"}, "torch.os.system"),
        ({"target": "torch.ops.aten.relu.default.__class__"}, "__class__"),
        ({"target": "_operator.attrgetter"}, "attrgetter"),
        ({"target": "#custom:thing"}, "none of PyTorch's operators"),
        ({"size": "__import__('os').system('true')"}, "evaluate"),
        ({"size": "Max(1, s0)"}, "evaluate"),
        ({"guards": ["print('hello')"]}, "guards"),
        ({"pickle": True}, "pickles, which execute code"),
    ],
)
def test_what_pytorch_would_execute_is_refused_by_name(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError) as caught:
        pt2_file.check(program(tmp_path / "hostile.pt2", **changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_that_are_no_programs_say_what_they_are(tmp_path: Path) -> None:
    cases = {
        "torch.save": zipped(tmp_path / "saved.pt2", {"saved/data.pkl": b"x"}),
        "before 2.9": zipped(tmp_path / "old.pt2", {"serialized_exported_program.json": b"{}"}),
        "holds no program": zipped(tmp_path / "empty.pt2", {"readme": b"x"}),
        "unpack to": zipped(tmp_path / "bomb.pt2", {"m/models/model.json": bytes(64 << 20)}),
        "damaged": zipped(tmp_path / "text.pt2", {"m/models/model.json": b"no json"}),
    }
    deep = b"[" * 100_000
    cases["or a damaged one"] = zipped(tmp_path / "deep.pt2", {"m/models/model.json": deep})
    for said, path in cases.items():
        with pytest.raises(ConversionError, match=said):
            pt2_file.check(path)
    (tmp_path / "text.pt2").write_text("no zip at all")
    with pytest.raises(ConversionError, match="or a damaged one"):
        pt2_file.check(tmp_path / "text.pt2")


def test_a_zip_that_readers_could_understand_differently_is_refused(tmp_path: Path) -> None:
    """Bytes in front, or another zip: which members it has depends on the reader."""
    plain = program(tmp_path / "plain.pt2").read_bytes()
    other = program(tmp_path / "other.pt2", target="torch.os.system").read_bytes()
    for content in (b"#!" + plain, other + plain, plain[:-2] + b"\x01\x00-"):
        (tmp_path / "two.pt2").write_bytes(content)
        with pytest.raises(ConversionError, match="one zip from its first byte"):
            pt2_file.check(tmp_path / "two.pt2")


def test_a_damaged_program_is_refused_in_one_line_or_was_harmlessly_changed(tmp_path: Path) -> None:
    content = program(tmp_path / "plain.pt2").read_bytes()
    rng = np.random.default_rng(5)
    refusals = []
    for i in range(300):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 1 + i % 8):
            changed[place] ^= int(rng.integers(1, 256))
        cut = int(rng.integers(0, len(content)))
        (tmp_path / "bad.pt2").write_bytes(changed if i % 2 else content[:cut])
        try:
            pt2_file.check(tmp_path / "bad.pt2")
        except ConversionError as exc:
            refusals.append(str(exc))
    assert len(refusals) > 200
    assert not [said for said in refusals if "\n" in said]


@pytest.mark.parametrize("name", ["model.pt", "model.pth"])
def test_pickles_of_torch_are_refused_without_being_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(ConversionError, match=r"executed when it is loaded.*--trust-pickle"):
        open_source(tmp_path / name)


ONNX = b"\x08\x08\x12\x04test\x3a\x06\x0a\x04\x0a\x02ab\x42\x02\x10\x0d"
"""A version, a producer, a graph and an opset."""


def test_a_row_of_whole_fields_with_a_graph_is_let_through(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(ONNX)
    onnx_file.check(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"GIF89a", b"\x80\x04.", b"\x08\x07", b"\x3a\x00", bytes(100), b"\xff" * 100),
        *(ONNX[:end] for end in (1, 3, 8, 10, 15, len(ONNX) - 1)),
        *(ONNX + b"\x3b", ONNX + b"\x3a\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ],
)
def test_what_is_no_onnx_file_needs_no_environment_to_be_refused(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ConversionError, match="no ONNX model"):
        open_source(tmp_path / "model.onnx")


def test_shapes_decide_the_layout_of_windows_where_they_can() -> None:
    assert not layout.channels_last((3, 24, 32), (3, 24, 32))
    assert layout.channels_last((24, 32, 3), (3, 24, 32))
    assert layout.channels_last((50, 6), (6, 50))
    assert not layout.channels_last((16, 16), (16, 16))
    for prepared in ((24, 3, 32), (24, 32), (32, 24, 3)):
        with pytest.raises(ConversionError, match="channels last"):
            layout.channels_last(prepared, (3, 24, 32))


def test_of_candidates_the_one_that_answers_as_the_model_is_taken_and_no_other(
    model: Any, data: Any, spec: Spec
) -> None:
    """The second file is right; the first has another model's weights."""
    right = convert(model, data[0], spec=spec, scheme="float32").tflite
    wrong = unpack_model(right)
    for buffer in wrong.buffers:
        if buffer.data is not None and len(buffer.data) > 64:
            buffer.data = np.roll(buffer.data, 4)
    windows = np.random.default_rng(0).normal(size=(8, 20, 2)).astype(np.float32)
    reference = model.predict(windows, verbose=0)
    settled = layout.settle([pack_model(wrong), right], windows, reference)
    assert settled.tflite == right
    assert settled.apart < 1e-5
    with pytest.raises(ConversionError, match="away from the model's"):
        layout.settle([pack_model(wrong)], windows, reference)
    with pytest.raises(ConversionError, match="another shape"):
        layout.settle([right], windows[:, :10], reference)


@pytest.mark.parametrize("scheme", ["dynamic", "float16", "int4", "int8"])
def test_a_file_from_before_2020_is_quantised_and_not_left_as_it_was(
    scheme: str, model: Any, data: Any, spec: Spec, tmp_path: Path
) -> None:
    """Its operators are named in the old byte only, which the AI Edge Quantizer does not read."""
    tflite = convert(model, data[0], spec=spec, scheme="float32").tflite
    old = unpack_model(tflite)
    for code in old.operatorCodes:
        code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0
    source = tmp_path / "old.tflite"
    source.write_bytes(pack_model(old))
    conversion = convert(source, data[0], spec=spec, scheme=scheme)
    new = {code.builtinCode for code in unpack_model(conversion.tflite).operatorCodes}
    assert conversion.chosen.scheme == scheme
    assert len(conversion.tflite) < 0.9 * len(source.read_bytes())
    assert conversion.verdict.agreement > 0.9
    assert new != {0}


def test_names_are_given_to_tensors_without_and_a_file_with_nothing_to_mend_keeps_its_bytes(
    model: Any, data: Any, spec: Spec
) -> None:
    slim = convert(model, data[0], spec=spec, scheme="float32").tflite
    named = modernised(slim)
    assert all(tensor.name for tensor in unpack_model(named).subgraphs[0].tensors)
    assert not all(tensor.name for tensor in unpack_model(slim).subgraphs[0].tensors)
    assert modernised(named) == named


class _Part:
    """As much of an nn.Module as its mode takes."""

    def __init__(self, *parts: "_Part") -> None:
        self.training, self.parts = True, parts

    def modules(self) -> "list[_Part]":
        return [self, *(one for part in self.parts for one in part.modules())]

    def eval(self) -> None:
        for part in self.modules():
            part.training = False


def test_a_part_that_is_frozen_in_a_module_that_trains_stays_so() -> None:
    frozen, free = _Part(), _Part()
    frozen.eval()
    whole = _Part(frozen, free)
    with torch_module._evaluating(whole):
        assert not any(part.training for part in whole.modules())
    assert [part.training for part in (whole, frozen, free)] == [True, False, True]
