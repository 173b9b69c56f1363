"""Draws how cost grows with the number of devices, from the JSON of benchmarks/fleet_load.py.

python benchmarks/fleet/plot.py OUT.svg < figures.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from edgeml.demo.svg import Frame, Points, line

WIDTH, HEIGHT = 760, 260
COLOURS = {
    "two ingests": "#2563eb",
    "database": "#b45309",
    "broker": "#059669",
    "confirmed, p99": "#b91c1c",
    "confirmed, median": "#f59e0b",
}
STYLE = (
    "<style>svg{--line:#d4d4d4;--bad:#b91c1c;--blue:#2563eb;background:#fff}"
    "text{font:12px sans-serif;fill:#333}</style>"
)


def cost_of(run: dict[str, Any]) -> dict[str, float]:
    """Processor time of each part, in hundredths of a core."""
    cpu_s = run["cpu_s"]
    parts = {
        "two ingests": cpu_s["ingest 1"] + cpu_s["ingest 2"],
        "broker": cpu_s["broker"],
    }
    if "database" in cpu_s:
        parts["database"] = cpu_s["database"]
    return {name: 100 * seconds / run["took_s"] for name, seconds in parts.items()}


def lag_of(run: dict[str, Any]) -> dict[str, float]:
    """How long a result waits for its confirmation, in milliseconds."""
    lag = run["confirmed_lag_s"]
    return {"confirmed, median": 1000 * lag["p50"], "confirmed, p99": 1000 * lag["p99"]}


def chart(rows: list[tuple[float, dict[str, float]]], y_label: str, top: int) -> str:
    """One chart, `top` pixels down: a line for each name, named at its end."""
    most = max(value for _, values in rows for value in values.values())
    frame = Frame(WIDTH - 150, HEIGHT, rows[-1][0] * 1.02, most * 1.1, y_label, "devices")
    parts = [frame.axes()]
    for name in rows[-1][1]:
        points: Points = [(0.0, 0.0), *((x, values[name]) for x, values in rows)]
        points = points if y_label.startswith("%") else points[1:]
        x, y = points[-1]
        parts.append(line(frame, points, COLOURS[name]))
        label = f'<text x="{frame.x(x) + 6:.1f}" y="{frame.y(y) + 4:.1f}" '
        parts.append(f'{label}style="fill:{COLOURS[name]}">{name}</text>')
    return f'<g transform="translate(0 {top})">{"".join(parts)}</g>'


def main() -> None:
    """Read figures, write a drawing."""
    runs = sorted(json.load(sys.stdin)["runs"], key=lambda run: run["devices"])
    cost = chart([(run["devices"], cost_of(run)) for run in runs], "% of one core", 0)
    lag = chart([(run["devices"], lag_of(run)) for run in runs], "ms until confirmed", HEIGHT)
    size = f'viewBox="0 0 {WIDTH} {2 * HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = "<title>The cost of a fleet, a result a second from each device</title>"
    drawing = f"{head}{title}{STYLE}{cost}{lag}</svg>\n"
    Path(sys.argv[1]).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
