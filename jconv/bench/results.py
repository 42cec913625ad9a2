"""What a benchmark found, to read and to look at."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jax
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jconv._core.environment import environment
from jconv.bench.suite import PASSES, Row, as_json, geometric_mean, peak_gflops
from jconv.profiling.race import Race
from jconv.selection.choice import milliseconds
from jconv.selection.tuning_table import describe_table

PEERS = ("lax", "torch")
MORE = 1.05


def line(row: Row) -> str:
    """One row, in one line."""
    words = [f"{row.layer:<42} {row.which:<9} {1e3 * row.seconds['jconv']:>9.2f} ms"]
    words += [f"{_times(row.speedup[p])} {p}" for p in PEERS if p in row.speedup]
    return "  ".join(words)


def race_line(race: Race) -> str:
    """One convolution and its fastest algorithms, in one line."""
    p = race.problem
    channels = f"{p.inputs}->{p.outputs}" + f" x{p.groups} groups" * (p.groups > 1)
    sizes = ("x".join(map(str, of)) for of in (p.window.taps, p.window.output))
    window = " -> ".join(sizes)
    fastest = sorted(race.seconds.items(), key=lambda item: item[1])[:3]
    times = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in fastest)
    return f"{p.pairs * p.images:>4} x {window:<24} {channels:<18} {times}"


def table(rows: Sequence[Row]) -> Table:
    """A line for each layer, in the sections of their kinds."""
    title = "ms of jconv, and how many times faster it is: forward, then with gradients"
    drawn = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("layer")
    for _ in PASSES:
        for head in ("ms", *PEERS):
            drawn.add_column(head, justify="right", no_wrap=True)
    by_layer: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_layer.setdefault(row.layer, {})[row.which] = row
    kind = None
    for name, passes in by_layer.items():
        first = next(iter(passes.values()))
        if first.kind != kind:
            drawn.add_section()
            kind = first.kind
        cells: list[str | Text] = [name]
        for which in PASSES:
            row = passes.get(which)
            cells.append(f"{1e3 * row.seconds['jconv']:.2f}" if row else "")
            cells += [_cell(row.speedup.get(peer) if row else None) for peer in PEERS]
        drawn.add_row(*cells)
    return drawn


def means(rows: Sequence[Row]) -> Table:
    """Geometric means of how many times faster jconv is, of each kind and of all."""
    title = "how many times faster jconv is, in the geometric mean: forward, then with gradients"
    drawn = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    everything = _means(rows)
    drawn.add_column("kind", "all", no_wrap=True)
    drawn.add_column("cases", str(len(rows)), justify="right")
    for (_, peer), ratio in everything.items():
        drawn.add_column(peer, _cell(ratio), justify="right", no_wrap=True)
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind]
        drawn.add_row(kind, str(len(own)), *map(_cell, _means(own).values()))
    return drawn


def _means(rows: Sequence[Row]) -> dict[tuple[str, str], float | None]:
    found = {}
    for which in PASSES:
        for peer in PEERS:
            ratios = [r.speedup[peer] for r in rows if r.which == which and peer in r.speedup]
            found[which, peer] = geometric_mean(ratios) if ratios else None
    return found


def told(rows: Sequence[Row], races: Mapping[str, Sequence[Race]]) -> Group:
    """All that was found, to be printed."""
    regrets = [regret_line(what, some) for what, some in races.items() if some]
    return Group(table(rows), means(rows), slower_line(rows), *regrets)


def slower_line(rows: Sequence[Row]) -> str:
    """Which cases `lax` does faster by more than 5 %: by more than noise, and within it."""
    slower = [(r, r.interval["lax"][1] < 1 / MORE) for r in rows if r.speedup["lax"] < 1 / MORE]
    slower.sort(key=lambda found: not found[1])  # what is sure comes first
    sure = sum(is_sure for _, is_sure in slower)
    names = "".join(
        f"\n  {r.layer}, {r.which}: {r.speedup['lax']:.2f}x" + ", within noise" * (not is_sure)
        for r, is_sure in slower
    )
    return (
        f"slower than lax by more than 5 %, and than noise: {sure} of {len(rows)}; "
        f"in the median, but within noise: {len(slower) - sure}{names}"
    )


def regret_line(what: str, races: Sequence[Race]) -> str:
    """What `auto` costs over the fastest algorithm of each of some convolutions, in one line."""
    regrets = [race.regret for race in races]
    mean = geometric_mean(regrets)
    worst = max(races, key=lambda race: race.regret)
    return (
        f"regret of auto on {len(races)} {what}: {mean:.3f} in the geometric mean, "
        f"{worst.regret:.2f} at worst ({worst.chosen} for {worst.fastest}:{race_line(worst)})"
    )


def _regrets(races: Sequence[Race]) -> dict:
    return {
        "geometric_mean": geometric_mean(race.regret for race in races),
        "worst": max(race.regret for race in races),
        "races": [
            {"convolution": race_line(race).strip(), "chosen": race.chosen,
             "seconds": dict(race.seconds)} for race in races
        ],
    }  # fmt: skip


def file_of(out: Path, ending: str) -> Path:
    """OUT with an ending, which it may have already; other dots in its name stay."""
    return out.with_name(out.name.removesuffix(ending) + ending)


def write_results(
    rows: Sequence[Row], out: Path, races: Mapping[str, Sequence[Race]] = MappingProxyType({})
) -> None:
    """Writes OUT.json, which says what it was measured on, and OUT.png."""
    torch = importlib.util.find_spec("torch") and importlib.metadata.version("torch")
    found = environment(describe_table(jax.default_backend())) | {
        "torch": torch,
        "cores": os.cpu_count(),
    }
    found |= {"matrix_product_gflops": peak_gflops(), "rows": as_json(rows)}
    found["regret"] = {what: _regrets(some) for what, some in races.items() if some}
    file_of(out, ".json").write_text(json.dumps(found, indent=1) + "\n")
    plot(rows, file_of(out, ".png"))


def _times(ratio: float) -> str:
    return f"{ratio:>6.1f}x" if ratio >= 10 else f"{ratio:>6.2f}x"


def _cell(ratio: float | None) -> Text:
    if ratio is None:
        return Text("")
    style = "green" if ratio >= MORE else "red" if ratio < 1 / MORE else ""
    return Text(_times(ratio).strip(), style=style)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draws how many times faster than `lax`, and than torch, each layer is in both passes."""
    names = list(dict.fromkeys(row.layer for row in rows))
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PASSES), sharey=True)
    for axis, which in zip(axes, PASSES, strict=True):
        for peer, color, marker in (("torch", "#d95f02", "D"), ("lax", "#1b5fa8", "o")):
            points = [
                (row.speedup[peer], names.index(row.layer))
                for row in rows
                if row.which == which and peer in row.speedup
            ]
            if points:
                ratios, places = zip(*points, strict=True)
                if peer == "lax":
                    axis.hlines(places, 1, ratios, color=color, linewidth=1, alpha=0.5)
                axis.plot(ratios, places, marker, color=color, markersize=5, label=f"over {peer}")
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axis.grid(axis="x", alpha=0.3)
        axis.set_title(which)
    axes[0].set_yticks(range(len(names)), names, fontsize=7)
    axes[0].invert_yaxis()
    axes[0].margins(y=0.5 / max(1, len(names)))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle("How many times faster jconv is (median of paired runs)")
    figure.savefig(path, dpi=130)
