"""The demonstration's page: one HTML file that needs no network, drawn from an `Outcome`.

Pure: an outcome goes in, text comes out. Somebody should see within seconds
that everything arrived, when the broker was dead, and what the queue did then.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

from edgeml.demo.outcome import Outcome, TimelinePoint
from edgeml.demo.svg import Frame, band, between, dot, line, notes

_STYLE: Final = """
:root { --ink:#1d2733; --quiet:#65717e; --line:#dfe4ea; --ground:#f6f7f9; --card:#fff;
  --good:#12805c; --bad:#c0392b; --blue:#2264c7; --amber:#d9822b; }
@media (prefers-color-scheme: dark) { :root { --ink:#e8edf2; --quiet:#97a3b0; --line:#2c3642;
  --ground:#12171d; --card:#1a2129; --good:#3ecf99; --bad:#ff7a6b; --blue:#6ba6ff;
  --amber:#f0a85c; } }
* { box-sizing:border-box } body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
main { max-width:980px; margin:0 auto; padding:32px 20px 60px }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:17px; margin:0 0 12px }
p.lead { font-size:18px; margin:0 0 24px } .quiet { color:var(--quiet) }
.good { color:var(--good) } .bad { color:var(--bad) }
.row { display:grid; gap:14px; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)) }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:16px;
  margin-bottom:14px; overflow-x:auto }
.card b { display:block; font-size:25px; line-height:1.2; font-variant-numeric:tabular-nums }
table { border-collapse:collapse; font-variant-numeric:tabular-nums } td,th { padding:5px 7px;
  text-align:right; font-weight:400 } th { color:var(--quiet) } td.name,th.name { text-align:left }
td.cell { padding:5px 4px; text-align:center; border:2px solid var(--card); border-radius:6px }
svg { width:100%; height:auto; display:block } svg text { fill:var(--quiet); font-size:11px }
.two { display:grid; gap:14px; grid-template-columns:repeat(auto-fit,minmax(360px,1fr)) }
.key { display:inline-block; width:11px; height:11px; border-radius:3px; margin:0 5px 0 12px }
"""


def render(outcome: Outcome) -> str:
    """The whole page.

    Returns:
        HTML with its style and drawings inside; it loads nothing.
    """
    title = f"edgeml demo: {outcome.model} v{outcome.version}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(title)}</h1>",
            _lead(outcome),
            _cards(outcome),
            _timeline(outcome),
            '<div class="two">',
            _confusion(outcome),
            _latency(outcome),
            "</div>",
            _provenance(outcome),
            "</main></body></html>",
        ]
    )


def _lead(outcome: Outcome) -> str:
    count = outcome.tally
    verdict = (
        '<span class="good">Every result arrived, each once.</span>'
        if count.complete
        else f'<span class="bad">{count.lost} lost, {count.duplicates} doubled.</span>'
    )
    return (
        f'<p class="lead">{verdict} A device classified {count.produced} windows, '
        f"from {outcome.recordings} real recordings played again and again, "
        "while its broker was killed and came back with empty memory "
        f"{outcome.outage_s:.1f} s later.</p>"
    )


def _cards(outcome: Outcome) -> str:
    count = outcome.tally
    cards = [
        ("produced", f"{count.produced}"),
        ("delivered", f"{count.delivered}"),
        ("lost", f"{count.lost}"),
        ("duplicates", f"{count.duplicates}"),
        ("longest queue", f"{max((p.queue_depth for p in outcome.timeline), default=0)}"),
    ]
    return (
        '<div class="row">'
        + "".join(
            f'<div class="card"><span class="quiet">{name}</span><b>{value}</b></div>'
            for name, value in cards
        )
        + "</div>"
    )


def _timeline(outcome: Outcome) -> str:
    points = outcome.timeline
    end_s = max((p.time_s for p in points), default=1.0)
    total = max(outcome.tally.produced, 1)
    frame = Frame(width=920, height=280, x_max=end_s, y_max=total * 1.08, y_label="results")
    produced = [(p.time_s, float(p.produced)) for p in points]
    acknowledged = [(p.time_s, float(p.produced - p.queue_depth)) for p in points]
    drawing = [
        band(frame, outcome.killed_at_s, outcome.killed_at_s + outcome.outage_s, "broker dead"),
        between(frame, produced, acknowledged, "var(--amber)"),
        line(frame, produced, "var(--blue)"),
        line(frame, acknowledged, "var(--good)"),
        frame.axes(),
        *(_offline_marks(frame, points)),
    ]
    legend = "".join(
        f'<span class="key" style="background:{colour}"></span>{name}'
        for name, colour in (
            ("produced", "var(--blue)"),
            ("in the store and acknowledged", "var(--good)"),
            ("waiting on the device", "var(--amber)"),
            ("device without a broker", "var(--bad)"),
        )
    )
    return (
        f'<div class="card"><h2>The outage</h2>{frame.svg(drawing)}'
        f'<div class="quiet">{legend}</div></div>'
    )


def _offline_marks(frame: Frame, points: Sequence[TimelinePoint]) -> list[str]:
    """A bar under the time axis for each stretch in which the device had no broker."""
    marks = []
    began_s: float | None = None
    for point in points:
        if not point.connected and began_s is None:
            began_s = point.time_s
        elif point.connected and began_s is not None:
            marks.append(frame.under_axis(began_s, point.time_s, "var(--bad)"))
            began_s = None
    if began_s is not None:
        marks.append(frame.under_axis(began_s, points[-1].time_s, "var(--bad)"))
    return marks


def _confusion(outcome: Outcome) -> str:
    counts = outcome.tally.confusion
    labels = outcome.labels
    most = max(counts.values(), default=1)
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for true in labels:
        cells = []
        for said in labels:
            count = counts.get((true, said), 0)
            colour = "--good" if true == said else "--bad"
            share = round(18 + 62 * count / most) if count else 0
            cells.append(
                f'<td class="cell" style="background:color-mix(in srgb,var({colour}) {share}%,'
                f'transparent)">{count}</td>'
            )
        rows.append(f'<tr><td class="name">{escape(true)}</td>{"".join(cells)}</tr>')
    return (
        '<div class="card"><h2>Confusion matrix, as delivered</h2><table>'
        f'<tr><th class="name">recorded ↓ said →</th>{head}</tr>{"".join(rows)}</table>'
        f"{_accuracy(outcome)}</div>"
    )


def _accuracy(outcome: Outcome) -> str:
    rows = [
        ("float model, workstation", outcome.score_float),
        ("int8 model, workstation", outcome.score_quantised),
        ("int8 model, as delivered", outcome.tally.accuracy),
    ]
    body = "".join(
        f'<tr><td class="name">{name}</td><td>{"–" if score is None else f"{score:.3f}"}</td></tr>'
        for name, score in rows
    )
    head = '<tr><th class="name">accuracy</th><th></th></tr>'
    return f'<table style="margin-top:14px">{head}{body}</table>'


def _latency(outcome: Outcome) -> str:
    times_us = sorted(outcome.times_us)
    count = outcome.tally
    high = times_us[min(len(times_us) - 1, int(len(times_us) * 0.995))] if times_us else 1.0
    frame = Frame(
        width=440, height=230, x_max=high * 1.05, y_max=1.0, y_label="share of windows", x_unit="µs"
    )
    shares = [(value, (i + 1) / len(times_us)) for i, value in enumerate(times_us) if value <= high]
    percentiles = (("p50", count.p50_us), ("p90", count.p90_us), ("p99", count.p99_us))
    drawing = [
        line(frame, shares, "var(--blue)"),
        frame.axes(),
        *(dot(frame, value, int(name[1:]) / 100) for name, value in percentiles if value <= high),
        notes(frame, [f"{name} {value:.0f} µs" for name, value in percentiles]),
    ]
    return (
        '<div class="card"><h2>From window to result, on the device</h2>'
        f"{frame.svg(drawing)}"
        '<span class="quiet">preprocessing, interpreter and postprocessing together</span></div>'
    )


def _provenance(outcome: Outcome) -> str:
    rows = [
        ("model", f"{outcome.model} v{outcome.version}, SHA-256 {outcome.digest[:16]}…"),
        ("file", f"{outcome.bundle_bytes:,} bytes"),
        ("machine", outcome.machine),
        ("interpreter", outcome.interpreter),
        ("broker", outcome.broker),
        ("outages seen by the device", str(outcome.outages)),
        ("whole run", f"{outcome.seconds:.1f} s"),
    ]
    body = "".join(
        f'<tr><td class="name quiet">{name}</td><td class="name">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<div class="card"><h2>What ran</h2><table>{body}</table></div>'
