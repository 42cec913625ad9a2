"""Results of a benchmark as tables, text, JSON and a figure."""

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
from jconv.bench.measurement import PASSES, Measurement, as_json, geometric_mean, peak_gflops
from jconv.profiling.race import Race
from jconv.selection.choice import milliseconds
from jconv.selection.tuning_table import describe_table

PEERS = ("lax", "torch")
NOTABLE_RATIO = 1.05  # of times; smaller differences are not marked


def format_measurement(measurement: Measurement) -> str:
    """Return the time of one pass and its speedups in one line."""
    ms = 1e3 * measurement.seconds["jconv"]
    words = [f"{measurement.layer:<42} {measurement.which:<9} {ms:>9.2f} ms"]
    words += [f"{_ratio(measurement.speedup[p])} {p}" for p in PEERS if p in measurement.speedup]
    return "  ".join(words)


def format_race(race: Race) -> str:
    """Return a convolution and its three fastest algorithms in one line."""
    p = race.problem
    channels = f"{p.inputs}->{p.outputs}" + f" x{p.groups} groups" * (p.groups > 1)
    sizes = ("x".join(map(str, axes)) for axes in (p.window.taps, p.window.output))
    window = " -> ".join(sizes)
    fastest = sorted(race.seconds.items(), key=lambda item: item[1])[:3]
    times = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in fastest)
    return f"{p.pairs * p.images:>4} x {window:<24} {channels:<18} {times}"


def layer_table(measurements: Sequence[Measurement]) -> Table:
    """Return a table with one row for each layer, in sections by kind."""
    title = "ms of jconv, and how many times faster it is: forward, then with gradients"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer")
    for _ in PASSES:
        for header in ("ms", *PEERS):
            table.add_column(header, justify="right", no_wrap=True)
    by_layer: dict[str, dict[str, Measurement]] = {}
    for measurement in measurements:
        by_layer.setdefault(measurement.layer, {})[measurement.which] = measurement
    kind = None
    for name, passes in by_layer.items():
        first = next(iter(passes.values()))
        if first.kind != kind:
            table.add_section()
            kind = first.kind
        cells: list[str | Text] = [name]
        for which in PASSES:
            measurement = passes.get(which)
            cells.append(f"{1e3 * measurement.seconds['jconv']:.2f}" if measurement else "")
            speedup = measurement.speedup if measurement else {}
            cells += [_cell(speedup.get(peer)) for peer in PEERS]
        table.add_row(*cells)
    return table


def mean_table(measurements: Sequence[Measurement]) -> Table:
    """Return a table of the geometric means of the speedups, by kind and of all layers."""
    title = "how many times faster jconv is, in the geometric mean: forward, then with gradients"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("kind", "all", no_wrap=True)
    table.add_column("cases", str(len(measurements)), justify="right")
    for (_, peer), ratio in _mean_speedups(measurements).items():
        table.add_column(peer, _cell(ratio), justify="right", no_wrap=True)
    for kind in dict.fromkeys(m.kind for m in measurements):
        of_kind = [m for m in measurements if m.kind == kind]
        table.add_row(kind, str(len(of_kind)), *map(_cell, _mean_speedups(of_kind).values()))
    return table


def _mean_speedups(
    measurements: Sequence[Measurement],
) -> dict[tuple[str, str], float | None]:
    """Return the geometric mean of the speedups by pass and peer; None where there are none."""
    means = {}
    for which in PASSES:
        for peer in PEERS:
            ratios = [
                m.speedup[peer] for m in measurements if m.which == which and peer in m.speedup
            ]
            means[which, peer] = geometric_mean(ratios) if ratios else None
    return means


def summarize(measurements: Sequence[Measurement], races: Mapping[str, Sequence[Race]]) -> Group:
    """Return all results of a benchmark, to be printed by rich.

    Args:
      measurements: the measurements of layers and networks.
      races: races for the regret of `auto`, by description of the convolutions.
    """
    regrets = [regret_summary(name, some) for name, some in races.items() if some]
    tables = layer_table(measurements), mean_table(measurements)
    return Group(*tables, slower_summary(measurements), *regrets)


def slower_summary(measurements: Sequence[Measurement]) -> str:
    """List the cases in which `lax` is faster by more than 5 %, significant ones first."""
    slower = [
        (m, m.interval["lax"][1] < 1 / NOTABLE_RATIO)
        for m in measurements
        if m.speedup["lax"] < 1 / NOTABLE_RATIO
    ]
    slower.sort(key=lambda case: not case[1])
    significant = sum(is_significant for _, is_significant in slower)
    names = "".join(
        f"\n  {m.layer}, {m.which}: {m.speedup['lax']:.2f}x"
        + ", within noise" * (not is_significant)
        for m, is_significant in slower
    )
    return (
        f"slower than lax by more than 5 %, beyond noise: {significant} of {len(measurements)}; "
        f"in the median, but within noise: {len(slower) - significant}{names}"
    )


def regret_summary(description: str, races: Sequence[Race]) -> str:
    """Return the mean and the largest regret of `auto` in one line.

    Args:
      description: the convolutions, such as `"random convolutions"`.
      races: a race for each of them.
    """
    mean = geometric_mean(race.regret for race in races)
    worst = max(races, key=lambda race: race.regret)
    return (
        f"regret of auto on {len(races)} {description}: {mean:.3f} in the geometric mean, "
        f"{worst.regret:.2f} at worst ({worst.chosen} for {worst.fastest}:{format_race(worst)})"
    )


def _regrets(races: Sequence[Race]) -> dict:
    return {
        "geometric_mean": geometric_mean(race.regret for race in races),
        "worst": max(race.regret for race in races),
        "races": [
            {"convolution": format_race(race).strip(), "chosen": race.chosen,
             "seconds": dict(race.seconds)} for race in races
        ],
    }  # fmt: skip


def with_extension(path: Path, extension: str) -> Path:
    """Return a path with an extension, which it may have already; other dots in it are kept."""
    return path.with_name(path.name.removesuffix(extension) + extension)


def write_results(
    measurements: Sequence[Measurement],
    out: Path,
    races: Mapping[str, Sequence[Race]] = MappingProxyType({}),
) -> None:
    """Write OUT.json, with a description of the machine, and OUT.png.

    Args:
      measurements: the measurements of layers and networks.
      out: path of the files, without extension.
      races: see `summarize`.
    """
    torch = importlib.util.find_spec("torch") and importlib.metadata.version("torch")
    content = environment(describe_table(jax.default_backend()))
    content |= {"torch": torch, "cores": os.cpu_count()}
    content |= {"matrix_product_gflops": peak_gflops(), "rows": as_json(measurements)}
    content["regret"] = {name: _regrets(some) for name, some in races.items() if some}
    with_extension(out, ".json").write_text(json.dumps(content, indent=1) + "\n")
    plot(measurements, with_extension(out, ".png"))


def _ratio(ratio: float) -> str:
    return f"{ratio:>6.1f}x" if ratio >= 10 else f"{ratio:>6.2f}x"


def _cell(ratio: float | None) -> Text:
    if ratio is None:
        return Text("")
    style = "green" if ratio >= NOTABLE_RATIO else "red" if ratio < 1 / NOTABLE_RATIO else ""
    return Text(_ratio(ratio).strip(), style=style)


def plot(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw the speedups over `lax` and torch of each layer and pass, on a logarithmic axis."""
    names = list(dict.fromkeys(m.layer for m in measurements))
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(PASSES), sharey=True)
    for panel, which in zip(panels, PASSES, strict=True):
        for peer, color, marker in (("torch", "#d95f02", "D"), ("lax", "#1b5fa8", "o")):
            points = [
                (m.speedup[peer], names.index(m.layer))
                for m in measurements
                if m.which == which and peer in m.speedup
            ]
            if points:
                ratios, rows = zip(*points, strict=True)
                if peer == "lax":
                    panel.hlines(rows, 1, ratios, color=color, linewidth=1, alpha=0.5)
                panel.plot(ratios, rows, marker, color=color, markersize=5, label=f"over {peer}")
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        panel.grid(axis="x", alpha=0.3)
        panel.set_title(which)
    panels[0].set_yticks(range(len(names)), names, fontsize=7)
    panels[0].invert_yaxis()
    panels[0].margins(y=0.5 / max(1, len(names)))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle("How many times faster jconv is (median of paired runs)")
    figure.savefig(path, dpi=130)
