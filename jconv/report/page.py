"""The page of a run: one HTML file that says what was reached and how the kernels changed.

The file asks for nothing from outside: styles, script and pictures are inside it.
It is made from whatever the run left behind. What is missing or broken is named
among the remarks on the page, so that a run that was killed has a page as well.
"""

import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float, Num

from jconv.report import pictures
from jconv.report.pictures import Chart, Picture, Points, number, percent

FRAMES = 60  # snapshots the slider holds at most
WEIGHTS = 1_500_000  # drawn on one page, about; larger networks get fewer snapshots
STRIP = 6  # snapshots drawn side by side
FRAME_SIZE = 128  # of one layer's picture, in CSS pixels at most
CELLS = 7  # a hidden kernel up to this wide is shown with its numbers

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def write_page(run: Path) -> Path:
    """Writes `report.html` into a run folder, in one move, and returns its path.

    Raises:
      ValueError: `run` is not a folder.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"`run` must be the folder of a run. Received: run={str(run)!r}.")
    page = run / "report.html"
    unfinished = run / f".report.{os.getpid()}.html"
    unfinished.write_text(render(read_run(run)), encoding="utf-8", errors="replace")
    os.replace(unfinished, page)
    return page


@dataclass(frozen=True)
class Run:
    """What a run folder holds, as far as it can be read.

    Attributes:
      name: of the folder.
      config: the text of `config.yaml`.
      environment, summary, layers: the JSON files.
      metrics: the lines of `metrics.jsonl`.
      snapshots: the file of each step whose kernels were logged.
      target: the hidden kernel of a recovery.
      remarks: what is missing or broken, as sentences.
    """

    name: str
    config: str
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    snapshots: Mapping[int, Path]
    target: Num[np.ndarray, "kh kw"] | None
    remarks: tuple[str, ...]

    @property
    def last_step(self) -> int:
        """The last step anything is known of."""
        steps = [line["step"] for line in self.metrics]
        known = self.summary.get("steps")
        known = [known] if _is_number(known) and isinstance(known, int) else []
        return max([0, *steps, *self.snapshots, *known])

    def series(self, key: str) -> Points:
        """The `(step, value)` pairs of one metric; a step logged twice counts once."""
        values = {line["step"]: line[key] for line in self.metrics if _is_number(line.get(key))}
        return [(step, float(values[step])) for step in sorted(values)]


def read_run(folder: Path) -> Run:
    """Reads a run folder; never fails on what is in it."""
    remarks: list[str] = []
    metrics = _read_metrics(folder / "metrics.jsonl", remarks)
    snapshots = _find_snapshots(folder / "kernels", remarks)
    layers = _read_json(folder / "layers.json", list, remarks, required=False)
    return Run(
        name=folder.resolve().name,
        config=_read_text(folder / "config.yaml", remarks),
        environment=_read_json(folder / "environment.json", dict, remarks),
        summary=_read_json(folder / "summary.json", dict, remarks, required=False),
        layers=[layer for layer in layers if isinstance(layer, dict)],
        metrics=metrics,
        snapshots=snapshots,
        target=_read_target(folder / "target.npz", remarks),
        remarks=tuple(remarks),
    )


def _read_text(path: Path, remarks: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        remarks.append(f"There is no {path.name}.")
        return ""


def _read_json(path: Path, kind: type, remarks: list[str], *, required: bool = True):
    if not required and not path.exists():
        return kind()
    text = _read_text(path, remarks)
    try:
        value = json.loads(text) if text else kind()
    except ValueError:
        value = None
    if isinstance(value, kind):
        return value
    remarks.append(f"{path.name} could not be read.")
    return kind()


def _read_metrics(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    lines = [line for line in _read_text(path, remarks).split("\n") if line.strip()]
    parsed = [_metrics_line(line) for line in lines]
    if parsed and parsed[-1] is None:
        remarks.append("The last line of metrics.jsonl is cut off and was left out.")
    broken = sum(line is None for line in parsed[:-1])
    if broken:
        remarks.append(f"Lines of metrics.jsonl that could not be read: {broken:,}.")
    return [line for line in parsed if line is not None]


def _metrics_line(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = value.get("step") if isinstance(value, dict) else None
    return value if _is_number(step) and isinstance(step, int) and step >= 0 else None


def _find_snapshots(folder: Path, remarks: list[str]) -> dict[int, Path]:
    files = {int(path.stem): path for path in folder.glob("*.npz") if path.stem.isdecimal()}
    broken = [step for step, path in files.items() if _array_names(path) is None]
    remarks.extend(
        f"kernels/{files[step].name} could not be read and was left out." for step in sorted(broken)
    )
    return {step: files[step] for step in sorted(files) if step not in broken}


def _read_target(path: Path, remarks: list[str]) -> Float[np.ndarray, "kh kw"] | None:
    kernel = _read_array(path, "kernel")
    if kernel is not None and kernel.size and np.squeeze(kernel).ndim <= 2:
        return np.atleast_2d(np.squeeze(kernel))
    if path.exists():
        remarks.append(f"{path.name} could not be read.")
    return None


def _array_names(path: Path) -> list[str] | None:
    """The names of the arrays in a file; none where it is broken."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return list(arrays.files)
    except _UNREADABLE:
        return None


def _read_array(path: Path, name: str) -> Float[np.ndarray, "..."] | None:
    """One array of a file; none where it is missing, broken or not of numbers."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            array = arrays[name]
    except _UNREADABLE:
        return None
    return array.astype(np.float32, copy=False) if array.dtype.kind in "fiub" else None


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return whole or isinstance(value, float)


def render(run: Run) -> str:
    """The page of a run as HTML."""
    with np.errstate(all="ignore"):  # a run that diverged is drawn like any other
        return _TEMPLATES.get_template("page.html.jinja").render(_contents(run))


def _contents(run: Run) -> dict[str, Any]:
    frames = _frames(run)
    return {
        "run": run,
        "verdict": verdict(run),
        "remarks": [*_divergence(run), *run.remarks],
        "standing": _standing(run),
        "figures": _figures(run.summary),
        "provenance": _provenance(run),
        "charts": _charts(run),
        "side_charts": _side_charts(run),
        "recovery": _recovery(run),
        "snapshot_steps": frames,
        "moments": [_moment(run, step) for step in frames],
        "kernels": [layer for name in _names(run) if (layer := _layer(name, run, frames))],
        "places": [pictures.step_axis(run.last_step).place(step) for step in frames],
        "gradient": pictures.gradient(),
        "network": _network(run.layers),
        "totals": [_total(run.layers, key) for key in ("parameters", "multiply_adds")],
        "environment": [(_label(k), _text(k, v)) for k, v in run.environment.items()],
        "number": number,
    }


def verdict(run: Run) -> str:
    """One line that says how the run ended."""
    reached = _reached(run)
    steps, seconds = run.summary.get("steps", run.last_step), run.summary.get("seconds")
    after = f"after {number(steps)} steps" if _is_number(steps) else ""
    spent = f"in {duration(seconds)}" if _is_number(seconds) else ""
    return ", ".join(part for part in (reached, f"{after} {spent}".strip()) if part) + "."


def _reached(run: Run) -> str:
    tested = _latest(run, "test_accuracy")
    if tested is not None:
        images = _latest(run, "test_images")
        whose = "the test images" if images is None else f"{number(images)} test images"
        return f"{percent(tested)} of {whose} named correctly"
    error = _latest(run, "kernel_error")
    if error is not None:
        return f"The hidden kernel recovered to within {number(error, 2)}"
    validated = _latest(run, "validation_accuracy")
    if validated is not None:
        return f"{percent(validated)} of the validation images named correctly"
    for key in ("test_loss", "validation_loss", "loss"):
        loss = _latest(run, key)
        if loss is not None:
            return f"{_label(key).capitalize()} {number(loss, 3)}"
    return "Nothing was measured"


def _latest(run: Run, key: str) -> float | None:
    """A figure of the summary; failing that, the last one that was logged."""
    if _is_number(run.summary.get(key)):
        return run.summary[key]
    logged = run.series(key)
    return logged[-1][1] if logged else None


def _standing(run: Run) -> str:
    """What to know of a run that did not finish; empty for one that did."""
    status = run.summary.get("status")
    if status == "finished":
        return ""
    if status == "interrupted":
        return "This run was interrupted. The page shows it as far as it went."
    if status == "failed":
        return f"This run failed. {run.summary.get('error') or ''}".strip()
    if status is None:
        return "This run has no summary: it is still going on, or it was killed."
    return f"Status of this run: {status}."


def _divergence(run: Run) -> list[str]:
    first = next((step for step, loss in run.series("loss") if not math.isfinite(loss)), None)
    return [] if first is None else [f"The loss is not finite from step {number(first)} on."]


def duration(seconds: float) -> str:
    """Writes a time as a person would.

    >>> duration(0.82), duration(24.3), duration(200), duration(3900)
    ('0.82 s', '24 s', '3 min 20 s', '1 h 5 min')
    """
    if not math.isfinite(seconds) or seconds < 10:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"


_FIRST = (
    *("test_accuracy", "test_loss", "validation_accuracy", "validation_loss", "parameters"),
    *("steps", "seconds", "images_per_second", "train_images", "test_images"),
)


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    order = [key for key in _FIRST if key in summary]
    order += [key for key in summary if key not in order and key not in ("status", "error")]
    return [(_label(k), _text(k, summary[k])) for k in order if summary[k] is not None]


def _label(key: str) -> str:
    special = {"seconds": "time", "images_per_second": "images a second"}
    return special.get(key, str(key).replace("_", " "))


def _text(key: str, value: Any) -> str:
    """Writes a value of a JSON file for a reader; its key says what it is."""
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(k)} {_text(k, v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_text(key, item) for item in value)
    if not _is_number(value):
        return str(value)
    if key.endswith("accuracy"):
        return percent(value)
    return duration(value) if key.endswith("seconds") else number(value)


def _provenance(run: Run) -> list[str]:
    of = run.environment.get
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
    def both(key: str) -> dict[str, Points]:
        return {"training": run.series(key), "validation": run.series(f"validation_{key}")}

    last, errors = run.last_step, {"training": run.series("kernel_error")}
    drawn = [
        pictures.chart("Loss", both("loss"), last_step=last),
        pictures.chart("Accuracy", both("accuracy"), last_step=last, share=True, log=False),
        pictures.chart(
            "Largest difference from the hidden kernel", errors, last_step=last, log=True
        ),
    ]
    return [chart for chart in drawn if chart]


def _side_charts(run: Run) -> list[Chart]:
    def one(title: str, key: str, log: bool | None = None) -> Chart | None:
        return pictures.chart(title, {"": run.series(key)}, last_step=run.last_step, log=log)

    drawn = [
        one("Gradient norm", "grad_norm"),
        one("Learning rate", "learning_rate", log=False),
        one("Images a second", "images_per_second", log=False),
    ]
    return [chart for chart in drawn if chart]


@dataclass(frozen=True)
class Matrix:
    """A small kernel to show with its numbers, or as a picture where it is large.

    Attributes:
      title: what it is.
      cells: rows of `(number, colour, whether the colour is dark)`; empty for a large one.
      picture: the same without numbers.
    """

    title: str
    cells: list[list[tuple[str, str, bool]]]
    picture: Picture


@dataclass(frozen=True)
class Recovery:
    """A hidden kernel beside the learned one.

    Attributes:
      matrices: hidden, learned and their difference, as far as they are known.
      limit: the magnitude in full colour, as text.
      worst: the largest absolute difference, as text; empty where none is known.
    """

    matrices: list[Matrix]
    limit: str
    worst: str


def _recovery(run: Run) -> Recovery | None:
    if run.target is None:
        return None
    learned = _learned_like(run.target, run)
    if learned is None:
        limit = pictures.colour_limit(run.target)
        return Recovery([_matrix("hidden", run.target, limit)], number(limit, 3), "")
    limit = pictures.colour_limit(run.target, learned)
    matrices = [_matrix("hidden", run.target, limit), _matrix("learned", learned, limit)]
    difference = learned - run.target
    worst = float(np.abs(difference).max())
    return Recovery([*matrices, _difference(difference)], number(limit, 3), number(worst, 3))


def _difference(kernel: Num[np.ndarray, "kh kw"]) -> Matrix:
    """A matrix in units of a power of ten that leaves digits to be read."""
    limit = pictures.colour_limit(kernel)
    power = min(math.floor(math.log10(limit)), 0)
    unit = f", in units of {number(10.0**power)}" if power else ""
    scaled = kernel.astype(np.float64) / 10.0**power
    return _matrix(f"learned − hidden{unit}", scaled, limit / 10.0**power)


def _learned_like(target: Num[np.ndarray, "kh kw"], run: Run) -> Num[np.ndarray, "kh kw"] | None:
    """The last logged kernel that has the size of `target`."""
    if not run.snapshots:
        return None
    path = run.snapshots[max(run.snapshots)]
    kernels = (_read_array(path, name) for name in _names(run))
    size = np.squeeze(target).shape
    alike = (k for k in kernels if k is not None and np.squeeze(k).shape == size)
    return next((kernel.reshape(target.shape) for kernel in alike), None)


def _matrix(title: str, kernel: Num[np.ndarray, "kh kw"], limit: float) -> Matrix:
    colours = pictures.kernel_image(kernel, limit=limit, scale=1)
    small = max(kernel.shape) <= CELLS
    cells = [
        [_matrix_cell(weight, colour) for weight, colour in zip(weights, row, strict=True)]
        for weights, row in zip(kernel.tolist(), colours.tolist(), strict=True)
        if small
    ]
    scale = pictures.scale_to_fit(kernel.shape, 2 * FRAME_SIZE)
    return Matrix(title, cells, pictures.kernel_picture([kernel], limit=limit, scale=scale))


def _matrix_cell(weight: float, colour: Sequence[int]) -> tuple[str, str, bool]:
    r, g, b = colour
    text = f"{weight:.3f}".replace("-", "−").replace("−0.000", "0.000")
    return text, f"rgb({r} {g} {b})", r + g + b < 384


def _evenly(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of `steps`, with the first and the last among them."""
    places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places.tolist()]


def _names(run: Run) -> list[str]:
    """Every logged kernel, in the order of the first file that has it."""
    names: dict[str, None] = {}
    for step in _evenly(list(run.snapshots), 2):
        names.update(dict.fromkeys(_array_names(run.snapshots[step]) or []))
    return list(names)


def _frames(run: Run) -> list[int]:
    """The steps whose kernels go onto the page."""
    steps = list(run.snapshots)
    if not steps:
        return []
    kernels = (_read_array(run.snapshots[steps[0]], name) for name in _names(run))
    drawn = sum(pictures.drawn_part(kernel).size for kernel in kernels if kernel is not None)
    return _evenly(steps, min(max(WEIGHTS // max(drawn, 1), STRIP), FRAMES))


def _moment(run: Run, step: int) -> tuple[str, str]:
    """What to call a step below a picture, and what to say of it beside the slider."""
    losses = dict(run.series("loss"))
    loss = f" · training loss {number(losses[step], 3)}" if step in losses else ""
    return f"step {number(step)}", f"{number(step)} of {number(run.last_step)}{loss}"


@dataclass(frozen=True)
class Layer:
    """The kernels of one layer through training.

    Attributes:
      name: parameter path.
      facts: its sizes and how far it moved, as text.
      shown: which part is drawn; empty where all is.
      limit: the magnitude in full colour, as text.
      sheet: the frames of the slider, one below the other.
      strip: `(label, picture)` of some steps, side by side.
      change: the last kernel minus the first.
      moves: relative change over the steps.
    """

    name: str
    facts: list[str]
    shown: str
    limit: str
    sheet: Picture
    strip: list[tuple[str, Picture]]
    change: Picture | None
    moves: Chart | None


def _layer(name: str, run: Run, steps: Sequence[int]) -> Layer | None:
    drawn: dict[int, np.ndarray] = {}
    moves: list[tuple[int, float]] = []
    first = last = None
    for step in steps:
        kernel = _read_array(run.snapshots[step], name)
        if kernel is not None and kernel.size:
            first, last = kernel if first is None else first, kernel
            drawn[step] = pictures.drawn_part(kernel)
            moves.append((step, _relative_change(first, kernel)))
    if first is None or last is None:
        return None
    limit = pictures.colour_limit(*drawn.values())
    missing = np.zeros((0, 0), np.float32)
    scale = pictures.scale_to_fit(last.shape, FRAME_SIZE)
    draw = partial(pictures.kernel_picture, limit=limit, scale=scale)
    return Layer(
        name=name,
        facts=[
            *_sizes(last),
            *([_moved(first, last)] if len(drawn) > 1 else []),
            *_not_numbers(last),
        ],
        shown=pictures.what_is_shown(last.shape),
        limit=number(limit, 3),
        sheet=draw([drawn.get(step, missing) for step in steps]),
        strip=[(f"step {number(s)}", draw([drawn[s]])) for s in _evenly(list(drawn), STRIP)],
        change=draw([change]) if (change := _change(drawn)) is not None else None,
        moves=pictures.chart("", {"": moves}, last_step=run.last_step, log=False),
    )


def _sizes(kernel: Num[np.ndarray, "..."]) -> list[str]:
    window = " × ".join(map(str, kernel.shape[:-2]))
    sides = " → ".join(f"{size:,}" for size in kernel.shape[-2:])
    weights = f"{kernel.size:,} weight{'s' if kernel.size > 1 else ''}"
    return [part for part in (f"{window}, {sides}" if window else sides, weights) if part]


def _not_numbers(kernel: Num[np.ndarray, "..."]) -> list[str]:
    count = int(np.count_nonzero(~np.isfinite(kernel)))
    return [f"{count:,} weights are not finite at the end"] if count else []


def _moved(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> str:
    if first.shape == last.shape and not first.any():
        return f"went {number(float(np.linalg.norm(last)), 2)} from zero"
    change = _relative_change(first, last)
    return f"relative change {number(change, 2)}" if math.isfinite(change) else "not comparable"


def _relative_change(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> float:
    """How far a whole layer went, in lengths of its start; not a number if it cannot be said."""
    start = float(np.linalg.norm(first))
    if first.shape != last.shape or start == 0:
        return math.nan
    return float(np.linalg.norm(last - first)) / start


def _change(drawn: Mapping[int, np.ndarray]) -> np.ndarray | None:
    kernels = list(drawn.values())
    if len(kernels) < 2 or kernels[0].shape != kernels[-1].shape:
        return None
    return kernels[-1] - kernels[0]


_COLUMNS = ("output_shape", "parameters", "multiply_adds", "receptive_field", "connected_to")


def _network(layers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [str(layer.get("name", "")), *(_cell(layer.get(key)) for key in _COLUMNS)]
        for layer in layers
    ]


def _total(layers: Sequence[Mapping[str, Any]], key: str) -> str:
    known = [layer[key] for layer in layers if _is_number(layer.get(key))]
    return number(sum(known)) if known else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        sizes = all(_is_number(item) for item in value)
        return (" × " if sizes else ", ").join(map(_cell, value))
    return number(value) if _is_number(value) else str(value)
