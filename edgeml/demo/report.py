"""The demonstration's page: one HTML file that needs no network, drawn from an `Outcome`.

Pure: an outcome goes in, text comes out. Somebody should see within seconds
that everything arrived, when the broker was dead, and what the queue did then.
"""

from collections.abc import Sequence
from html import escape

from edgeml.demo import rolloutpage
from edgeml.demo.outcome import Outcome, TimelinePoint
from edgeml.demo.page import confusion_table, document, legend
from edgeml.demo.rollout import Rollout
from edgeml.demo.svg import Frame, band, between, dot, line, notes


def render(outcome: Outcome, rollout: Rollout | None = None) -> str:
    """The whole page; the second act where it was played.

    Returns:
        HTML with its style and drawings inside; it loads nothing.
    """
    title = f"edgeml demo: {outcome.model} v{outcome.version}"
    return document(
        title,
        [
            _lead(outcome),
            _cards(outcome),
            _timeline(outcome),
            '<div class="two">',
            _confusion(outcome),
            _latency(outcome),
            "</div>",
            *([] if rollout is None else [rolloutpage.section(rollout)]),
            _provenance(outcome),
        ],
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
    colours = (
        ("produced", "var(--blue)"),
        ("in the store and acknowledged", "var(--good)"),
        ("waiting on the device", "var(--amber)"),
        ("device without a broker", "var(--bad)"),
    )
    return f'<div class="card"><h2>The outage</h2>{frame.svg(drawing)}{legend(colours)}</div>'


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
    counts, labels = outcome.tally.confusion, outcome.labels
    rows = [[counts.get((true, said), 0) for said in labels] for true in labels]
    return (
        '<div class="card"><h2>Confusion matrix, as delivered</h2>'
        f"{confusion_table(labels, rows)}{_accuracy(outcome)}</div>"
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
        width=440, height=290, x_max=high * 1.05, y_max=1.0, y_label="share of windows", x_unit="µs"
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
        ("from the start to the last result", f"{outcome.seconds:.1f} s"),
    ]
    body = "".join(
        f'<tr><td class="name quiet">{name}</td><td class="name">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<div class="card"><h2>What ran</h2><table>{body}</table></div>'
