"""Reader of run folders that never fails on their contents.

A run may have been killed at any moment, and its files may come from anywhere. Missing and corrupt
files therefore become remarks instead of errors.
"""

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from jconv.data.safe_io import DEFAULT_MEMORY, BadFile, open_file

_READ_ERRORS = (
    OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, MemoryError, BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The content of a run folder, as far as it can be read.

    Attributes:
      name: name of the folder.
      config: the text of `config.yaml`.
      environment, summary, layers: the JSON files.
      metrics: the lines of `metrics.jsonl`.
      snapshots: for each step whose kernels were logged its file, in order of steps.
      target: the hidden kernel of a recovery experiment.
      remarks: sentences about missing and corrupt files.
    """

    name: str
    config: str
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    snapshots: Mapping[int, Path]
    target: Float[np.ndarray, "kh kw"] | None
    remarks: tuple[str, ...]

    @property
    def last_step(self) -> int:
        """The last step in any of the files."""
        steps = [line["step"] for line in self.metrics]
        final = self.summary.get("steps")
        return max([0, *steps, *self.snapshots, *([final] if _is_int(final) else [])])

    def series(self, key: str) -> list[tuple[int, float]]:
        """Return the `(step, value)` pairs of one metric; of repeated steps the last."""
        values = {line["step"]: line[key] for line in self.metrics if is_number(line.get(key))}
        return [(step, float(values[step])) for step in sorted(values)]

    def kernel_names(self) -> list[str]:
        """Return the names of the kernels of the first and the last snapshot."""
        files = list(self.snapshots.values())
        names = [name for file in (*files[:1], *files[-1:]) for name in _array_names(file) or []]
        return list(dict.fromkeys(names))

    def kernel(self, name: str, step: int) -> Float[np.ndarray, "..."] | None:
        """Return a kernel of a snapshot; None if it is missing, corrupt or not numeric."""
        return _read_array(self.snapshots[step], name)


def read_run(folder: Path) -> Run:
    """Read a run folder; missing and corrupt files become remarks."""
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


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value of a JSON file is a number that can be drawn."""
    return _is_int(value) or isinstance(value, float)


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _read_text(path: Path, remarks: list[str]) -> str:
    try:
        with open_file(path) as file:
            return file.read().decode(errors="replace")
    except (OSError, BadFile):
        exists = os.path.lexists(path)
        remarks.append(f"{path.name} could not be read." if exists else f"There is no {path.name}.")
        return ""


def _read_json(path: Path, kind: type, remarks: list[str], *, required: bool = True) -> Any:
    if not required and not path.exists():
        return kind()
    text = _read_text(path, remarks)
    try:
        value = json.loads(text) if text else kind()
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, kind):
        return value
    remarks.append(f"{path.name} could not be read.")
    return kind()


def _read_metrics(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    lines = [line for line in _read_text(path, remarks).split("\n") if line.strip()]
    parsed = [_parse_metrics(line) for line in lines]
    if parsed and parsed[-1] is None:
        remarks.append("The last line of metrics.jsonl is incomplete and was ignored.")
    invalid = sum(line is None for line in parsed[:-1])
    if invalid:
        remarks.append(f"Lines of metrics.jsonl that could not be read: {invalid:,}.")
    return [line for line in parsed if line is not None]


def _parse_metrics(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = value.get("step") if isinstance(value, dict) else None
    if not _is_int(step) or step < 0:
        return None
    # The log writes null for numbers that are not finite.
    return {key: math.nan if number is None else number for key, number in value.items()}


def _find_snapshots(folder: Path, remarks: list[str]) -> dict[int, Path]:
    files = {int(path.stem): path for path in folder.glob("*.npz") if path.stem.isdecimal()}
    corrupt = [step for step, path in files.items() if _array_names(path) is None]
    remarks.extend(
        f"kernels/{files[step].name} could not be read and was ignored." for step in sorted(corrupt)
    )
    return {step: files[step] for step in sorted(files) if step not in corrupt}


def _read_target(path: Path, remarks: list[str]) -> Float[np.ndarray, "kh kw"] | None:
    kernel = _read_array(path, "kernel")
    if kernel is not None and kernel.size and np.squeeze(kernel).ndim <= 2:
        return np.atleast_2d(np.squeeze(kernel))
    if path.exists():
        remarks.append(f"{path.name} could not be read.")
    return None


def _array_names(path: Path) -> list[str] | None:
    return _from_arrays(path, lambda arrays: list(arrays))


def _read_array(path: Path, name: str) -> Float[np.ndarray, "..."] | None:
    def take(arrays: Any) -> np.ndarray:
        if arrays.zip.getinfo(f"{name}.npy").file_size > DEFAULT_MEMORY:  # size after decompression
            raise ValueError
        return arrays[name]

    array = _from_arrays(path, take)
    if array is None or array.dtype.kind not in "fiub":
        return None
    return array.astype(np.float32, copy=False)


def _from_arrays(path: Path, take: Callable[[Any], Any]) -> Any:
    """Return the result of `take` for a file of arrays; None if the file is corrupt."""
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
            return take(arrays)
    except _READ_ERRORS:
        return None
