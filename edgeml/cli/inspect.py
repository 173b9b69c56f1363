"""Show what is in a bundle or a plain .tflite: manifest, tensors, operators, self-test.

Nothing is run, so the file need not be trusted and no interpreter is needed.
"""

import argparse
import json
from typing import Any

from edgeml.cli.output import format_table, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle or a plain .tflite")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    facts = _read(args.bundle)
    if args.json:
        print_json(facts)
    else:
        print(_as_text(facts))
    return 0


def _read(path: str) -> dict[str, Any]:
    import hashlib

    from edgeml.bundle import Bundle, read_file
    from edgeml.runtime.graph import read_graph
    from edgeml.runtime.source import is_bundle

    data = read_file(path)
    bundle = Bundle.from_bytes(data, path) if is_bundle(data, path) else None
    tflite = data if bundle is None else bundle.tflite
    graph = read_graph(tflite, path)
    golden = None if bundle is None else bundle.golden
    baseline = None if bundle is None else bundle.baseline
    return {
        "path": path,
        "bundle": bundle is not None,
        "size_bytes": len(data),
        "model_bytes": len(tflite),
        "sha256": hashlib.sha256(data).hexdigest(),
        "manifest": None if bundle is None else json.loads(bundle.manifest.to_json()),
        "inputs": [
            {"name": t.name, "shape": list(t.shape), "dtype": t.dtype} for t in graph.inputs
        ],
        "outputs": [
            {"name": t.name, "shape": list(t.shape), "dtype": t.dtype} for t in graph.outputs
        ],
        "operators": list(graph.operators),
        "description": graph.description,
        "golden": None
        if golden is None
        else {"windows": len(golden.windows), "tolerance": golden.tolerance},
        "baseline": None if baseline is None else sorted(baseline),
    }


def _as_text(facts: dict[str, Any]) -> str:
    operators: dict[str, int] = {}
    for name in facts["operators"]:
        operators[name] = operators.get(name, 0) + 1
    rows = [("file", f"{facts['path']}, {facts['size_bytes']} bytes"), ("sha256", facts["sha256"])]
    if facts["manifest"] is not None:
        rows += _manifest_rows(facts["manifest"])
    for title in ("inputs", "outputs"):
        rows += [(title[:-1], f"{t['dtype']} {t['shape']} {t['name']}") for t in facts[title]]
    rows.append(("operators", ", ".join(f"{n} {name}" for name, n in operators.items()) or "none"))
    golden = facts["golden"]
    if golden is not None:
        rows.append(("golden test", f"{golden['windows']} windows within {golden['tolerance']:g}"))
    if facts["baseline"] is not None:
        rows.append(("baseline", ", ".join(facts["baseline"])))
    if not facts["bundle"]:
        rows.append(("manifest", "none: a plain .tflite; `edgeml convert` makes bundles"))
    return format_table(("what", "found"), rows)


def _manifest_rows(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    channels = ", ".join(
        f"{c['name']} [{c['unit']}]" if c["unit"] else c["name"] for c in inputs["channels"]
    )
    rate = inputs["sample_rate_hz"]
    rows = [
        ("model", f"{manifest['name']} version {manifest['version']}, made {manifest['created']}"),
        ("description", manifest["description"]),
        ("task", manifest["task"]),
        (
            "window",
            f"{inputs['shape']}, stride {inputs['stride']}" + (f", {rate:g} Hz" if rate else ""),
        ),
        ("channels", channels),
        ("preprocess", " → ".join(step["step"] for step in manifest["preprocess"]) or "none"),
        ("labels", ", ".join(outputs["labels"]) or "none"),
    ]
    quantisation = manifest["quantisation"]
    if quantisation is not None:
        scores = f"{quantisation['score_float']:.4g} → {quantisation['score_quantised']:.4g}"
        text = f"{quantisation['scheme']}: {quantisation['metric']} {scores}"
        rows.append(("quantisation", text))
    budgets = manifest["budgets"]
    if budgets is not None:
        rows.append(
            ("budgets", f"p95 {budgets['p95_ms']} ms, peak RSS {budgets['peak_rss_mb']} MiB")
        )
    return rows
