"""The second act on the demonstration's page: which device ran what, and when. Pure."""

from html import escape
from typing import Final

from edgeml.demo.fleetlog import FleetLog
from edgeml.demo.page import drawing, legend
from edgeml.demo.rollout import FIRST_PERCENT, Rollout
from edgeml.demo.svg import ticks

_WIDTH: Final = 920
_LEFT: Final = 76
_RIGHT: Final = 14
_ROW: Final = 20
_TOP: Final = 22
_COLOURS: Final = ("var(--quiet)", "var(--good)", "var(--bad)")


def section(rollout: Rollout) -> str:
    """The act as a card: a sentence, a row for each device, and who said what."""
    log = rollout.log
    end_s = max(log.end_s - _began_s(log), 1.0)
    rows = [_row(rollout, i, name, end_s) for i, name in enumerate(rollout.devices)]
    height = _TOP + _ROW * len(rollout.devices) + 30
    parts = [*_marks(rollout, end_s, height), *rows, _axis(end_s, height)]
    names = [f"version {rollout.first + i}" for i in range(3)]
    return (
        f'<div class="card"><h2>Two releases, {len(rollout.devices)} devices</h2>'
        f"<p>{_sentence(rollout)}</p>{drawing(_WIDTH, height, parts)}"
        f"{legend(list(zip(names, _COLOURS, strict=True)))}{_undone(log)}</div>"
    )


def _sentence(rollout: Rollout) -> str:
    good, bad = rollout.first + 1, rollout.first + 2
    verdict = (
        f"Version {good} reached everybody, {FIRST_PERCENT} % first. Version {bad} is bad in a way "
        "that its own self-test does not show: the device that took it undid it by itself, and "
        "nobody else ever got it."
        if rollout.complete
        else f"{rollout.updated} of {len(rollout.devices)} devices run version {good} in the end; "
        f"{rollout.reached} ran version {bad}."
    )
    return (
        f"{verdict} {rollout.log.windows:,} windows were answered meanwhile, with "
        f"{1000 * rollout.log.longest_pause_s:.0f} ms as the longest pause of any device."
    )


def _row(rollout: Rollout, at: int, device: str, end_s: float) -> str:
    began_s = _began_s(rollout.log)
    turns = [turn for turn in rollout.log.turns if turn.device == device]
    y = _TOP + _ROW * at
    parts = [f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(device)}</text>']
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        from_s = turn.time_s - began_s
        to_s = end_s if following is None else following.time_s - began_s
        colour = _COLOURS[min(turn.version - rollout.first, 2)]
        parts.append(
            f'<rect x="{_x(from_s, end_s):.1f}" y="{y + 3}" rx="3" height="{_ROW - 6}" '
            f'width="{max(_x(to_s, end_s) - _x(from_s, end_s), 2):.1f}" fill="{colour}">'
            f"<title>{escape(device)}: version {turn.version}</title></rect>"
        )
    return "".join(parts)


def _marks(rollout: Rollout, end_s: float, height: int) -> list[str]:
    """A line where each stage began, and where the bad release was halted."""
    began_s, marks, said = _began_s(rollout.log), [], ""
    for version, stages in enumerate(rollout.stages, rollout.first + 1):
        for stage in stages:
            percent, _, what = stage.said.partition(" %: ")
            label = f"v{version}: " + ("halted" if what.startswith("halted") else f"{percent} %")
            if percent == "0" or label == said:
                continue
            said = label
            x = _x(stage.time_s - began_s, end_s)
            marks.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height - 26}" '
                'stroke="var(--quiet)" stroke-dasharray="3 3"/>'
                f"{_label(x, label)}"
            )
    return marks


def _label(x: float, label: str) -> str:
    """Beside its line, on the side that has room."""
    late = x > _WIDTH - 100
    at, anchor = (x - 3, "end") if late else (x + 3, "start")
    return f'<text x="{at:.1f}" y="12" text-anchor="{anchor}">{label}</text>'


def _axis(end_s: float, height: int) -> str:
    return "".join(
        f'<text x="{_x(value, end_s):.1f}" y="{height - 8}" text-anchor="middle">{value:g} s</text>'
        for value in ticks(end_s)
    )


def _undone(log: FleetLog) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(one.device)}</td><td class="name">{escape(one.release)}</td>'
        f'<td class="name">{escape(one.why)}</td></tr>'
        for one in log.undone
    )
    head = '<tr><th class="name">went back</th><th class="name">from</th><th class="name">why</th>'
    return f'<table style="margin-top:14px">{head}</tr>{rows}</table>' if rows else ""


def _began_s(log: FleetLog) -> float:
    return min((turn.time_s for turn in log.turns), default=0.0)


def _x(time_s: float, end_s: float) -> float:
    return _LEFT + min(max(time_s / end_s, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)
