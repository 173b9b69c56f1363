"""A model file of another framework, opened through a worker in an environment of its own.

It is described when it is opened and converted when the windows are known: they
say which layout it is to have, and prove that it answers as it did. From then
on it is a float `.tflite` that all schemes start from; the reference stays the
framework itself.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.environments import Environment, run_worker
from edgeml_converters.samples import spread
from edgeml_converters.sources.float_model import FloatModel, Floats, LiteFile, finite
from edgeml_converters.sources.layout import channels_last, settle, to_first, to_last

PROOF_WINDOWS: Final = 32
"""How many real windows a converted file has to answer as its source does."""


def open_foreign(path: Path, environment: Environment, framework: str, ways: int = 1) -> FloatModel:
    """Open a file that was looked into already.

    Args:
        path: the file.
        environment: where its framework is.
        framework: its name, for the report.
        ways: how many ways to convert the worker knows.

    Raises:
        ConversionError: the framework refuses it, or it is no model for a device.
    """
    path = path.absolute()
    said = _run(environment, "describe", path, {})
    name = f"{framework} {said['version']}"
    given, made = tuple(said["input"]), tuple(said["output"])

    known: dict[bytes, Floats] = {}

    def predict(batch: Floats) -> Floats:
        # The same windows are asked for more than once, and a worker takes seconds to start.
        keys = [hashlib.sha256(one.tobytes()).digest() for one in batch]
        new = {key: i for i, key in enumerate(keys) if key not in known}
        if new:
            said = _outputs(environment, path, batch[list(new.values())], made)
            known.update(zip(new, said, strict=True))
        return np.stack([known[key] for key in keys]) if keys else np.empty((0, *made), np.float32)

    def settled(prepared: Floats) -> FloatModel:
        last = channels_last(prepared.shape[1:], given)

        def products(plain: Floats, folder: Path) -> Iterator[bytes]:
            return make_products(environment, path, plain, folder, last=last, ways=ways)

        return proven(name, prepared, predict, products, last=last)

    return FloatModel(name, given, made, predict, _no_saved_model, settled=settled)


def proven(
    framework: str,
    prepared: Floats,
    predict: Callable[[Floats], Floats],
    products: Callable[[Floats, Path], Iterator[bytes]],
    *,
    last: bool,
) -> FloatModel:
    """A model whose float file is made, and held to the framework on real windows.

    Args:
        framework: for the report.
        prepared: the windows.
        predict: the framework, on windows in its own layout.
        products: candidates for the file, from windows in that layout and a folder for the job.
        last: whether windows have their channels last where the framework has them first.

    Raises:
        ConversionError: the framework answers NaN, or no candidate answers as it does.
    """
    windows = spread(prepared, PROOF_WINDOWS)
    plain = to_first(windows) if last else windows
    reference = finite(predict(plain), framework)
    with tempfile.TemporaryDirectory(prefix="edgeml-foreign-") as folder:
        done = settle(products(plain, Path(folder)), windows, reference)

    def answer(batch: Floats) -> Floats:
        outputs = predict(to_first(batch) if last else batch)
        return to_last(outputs) if done.output_last else outputs

    made = to_last(reference).shape if done.output_last else reference.shape
    notes = ("windows have their channels last, the model first: the file takes the windows",)
    return FloatModel(
        framework,
        prepared.shape[1:],
        made[1:],
        answer,
        _no_saved_model,
        notes if last else (),
        lite=LiteFile(done.tflite, "float32", "float", made_here=True),
    )


def make_products(
    environment: Environment, path: Path, plain: Floats, folder: Path, *, last: bool, ways: int = 1
) -> Iterator[bytes]:
    """Candidates for the float .tflite, for `settle` to choose from, each made when asked for.

    Args:
        environment: where the framework is.
        path: what it converts.
        plain: windows in the model's own layout.
        folder: the job's own.
        last: whether the file's input has its channels last.
        ways: how many the worker knows.

    Raises:
        ConversionError: the converter refuses the model in every way.
    """
    np.save(folder / "windows.npy", plain, allow_pickle=False)
    refusals = []
    for way in range(ways):
        made = _product(environment, path, folder, {"channels_last": last, "way": way})
        if isinstance(made, bytes):
            yield made
        else:
            refusals.append(made)
    if len(refusals) == ways:
        raise refusals[0]


def _product(
    environment: Environment, path: Path, folder: Path, order: Mapping[str, Any]
) -> bytes | ConversionError:
    try:
        said = run_worker(environment, "convert", {"source": str(path), **order}, folder)
    except ConversionError as refusal:
        return refusal
    return (folder / str(said["product"])).read_bytes()


def _outputs(environment: Environment, path: Path, batch: Floats, shape: tuple[int, ...]) -> Floats:
    with tempfile.TemporaryDirectory(prefix="edgeml-foreign-") as name:
        folder = Path(name)
        np.save(folder / "windows.npy", np.asarray(batch, np.float32), allow_pickle=False)
        run_worker(environment, "predict", {"source": str(path)}, folder)
        outputs: Floats = np.load(folder / "outputs.npy", allow_pickle=False)
    if outputs.shape != (len(batch), *shape):
        raise ConversionError(
            f"{path}: it answers {list(outputs.shape)} to {len(batch)} windows, not "
            f"{[len(batch), *shape]}; a device needs an answer to each window"
        )
    return outputs


def _run(
    environment: Environment, task: str, path: Path, order: Mapping[str, Any]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgeml-foreign-") as folder:
        return run_worker(environment, task, {"source": str(path), **order}, Path(folder))


def _no_saved_model(_: Path) -> None:
    raise ConversionError("a model of another framework becomes a .tflite, not a SavedModel")


__all__ = ["make_products", "open_foreign", "proven"]
