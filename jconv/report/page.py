"""The page of a run: one HTML file that says what was reached and how the kernels changed.

The file asks for nothing from outside: styles, script and pictures are inside it.
It is made from whatever the run left behind. What is missing or broken is named
among the remarks on the page, so that a run that was killed has a page as well.
"""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from jconv.analysis.kernel_images import colour_scale
from jconv.report import kernel_timeline as timeline
from jconv.report import templating as html
from jconv.report.confusion import confusion_of
from jconv.report.curves import Chart, chart, step_axis
from jconv.report.formatting import number
from jconv.report.headline import divergence, standing, verdict
from jconv.report.metrics import final_figures, label, text
from jconv.report.recovery import recovery_of
from jconv.report.run_reader import Run, is_number, read_run

_COLUMNS = ("output_shape", "parameters", "multiply_adds", "receptive_field", "connected_to")


def write_page(run: Path) -> Path:
    """Writes `report.html` into a run folder, in one move, and returns its path.

    Raises:
      ValueError: `run` is not a folder, or that of a sweep.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"`run` must be the folder of a run. Received: run={str(run)!r}.")
    if (run / "sweep.yaml").exists():
        raise ValueError(
            f"`run` must be the folder of a run. Received: run={str(run)!r}, a sweep, whose runs "
            f"have a page each. `jconv compare {shlex.quote(str(run))}` lays them side by side."
        )
    return html.write(run / "report.html", render(read_run(run)))


def render(run: Run) -> str:
    """The page of a run as HTML."""
    with np.errstate(all="ignore"):  # a run that diverged is drawn like any other
        return html.fill("page.html.jinja", _contents(run))


def _contents(run: Run) -> dict[str, Any]:
    steps = timeline.drawn_steps(run)
    return {
        "run": run,
        "verdict": verdict(run),
        "remarks": [*divergence(run), *run.remarks],
        "standing": standing(run),
        "figures": final_figures(run.summary),
        "provenance": _provenance(run.environment),
        "charts": _charts(run),
        "side_charts": _side_charts(run),
        "confusion": confusion_of(run),
        "recovery": recovery_of(run),
        "snapshot_steps": steps,
        "moments": timeline.moments(run, steps),
        "kernels": timeline.layers(run, steps),
        "places": [step_axis(run.last_step).place(step) for step in steps],
        "gradient": colour_scale(),
        "network": [_network_row(layer) for layer in run.layers],
        "totals": [_total(run.layers, key) for key in ("parameters", "multiply_adds")],
        "environment": [(label(k), text(k, v)) for k, v in run.environment.items()],
        "number": number,
    }


def _provenance(environment: Mapping[str, Any]) -> list[str]:
    of = environment.get
    commit = of("git_commit")
    parts = [
        _moment_in_time(str(of("started") or "")),
        *(f"{key} {of(key)}" for key in ("jconv", "jax") if of(key)),
        f"commit {str(commit)[:10]}" if commit else "",
    ]
    return [part for part in parts if part]


def _moment_in_time(iso: str) -> str:
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = time.strftime(" UTC%z").replace("+0000", "") if time.tzinfo else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def _charts(run: Run) -> list[Chart]:
    def draw(title: str, keys: Mapping[str, str], **options) -> Chart | None:
        series = {name: run.series(key) for name, key in keys.items()}
        errors = {name: run.series(f"{key}_error") for name, key in keys.items()}
        return chart(title, series, last_step=run.last_step, errors=errors, **options)

    def both(key: str) -> dict[str, str]:
        return {"training": key, "validation": f"validation_{key}"}

    drawn = [
        draw("Loss", both("loss")),
        draw("Accuracy", both("accuracy"), share=True, log=False),
        draw("Largest difference from the hidden kernel", {"": "kernel_error"}, log=True),
    ]
    return [one for one in drawn if one]


def _side_charts(run: Run) -> list[Chart]:
    def draw(title: str, key: str, log: bool | None = None) -> Chart | None:
        series, errors = ({"": run.series(name)} for name in (key, f"{key}_error"))
        return chart(title, series, last_step=run.last_step, errors=errors, log=log)

    drawn = [
        draw("Gradient norm", "grad_norm"),
        draw("Learning rate", "learning_rate", log=False),
        draw("Images a second", "images_per_second", log=False),
    ]
    return [one for one in drawn if one]


def _network_row(layer: Mapping[str, Any]) -> list[str]:
    return [str(layer.get("name", "")), *(_cell(layer.get(key)) for key in _COLUMNS)]


def _total(layers: Sequence[Mapping[str, Any]], key: str) -> str:
    known = [layer[key] for layer in layers if is_number(layer.get(key))]
    return number(sum(known)) if known else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        sizes = all(is_number(item) for item in value)
        return (" × " if sizes else ", ").join(map(_cell, value))
    return number(value) if is_number(value) else str(value)
