"""What a function convolves: where, how much, by which algorithm, and why."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from rich import box
from rich.console import Console
from rich.table import Table

from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.algorithms.algorithm import Problem
from jconv.bench.alone import seconds_alone
from jconv.multiply_adds import shape_of
from jconv.plan import Plan
from jconv.primitive import conv_p
from jconv.rewrite import accelerated
from jconv.selection import choose, known_seconds, milliseconds

# Where a convolution is in the source is where jconv was called.
source_info_util.register_exclusion(str(Path(__file__).parent))


@dataclass(frozen=True)
class Place:
    """Where a convolution is.

    Attributes:
      where: file, line and function that asked for it, or for what it is a gradient of.
      derivative: whether it belongs to a gradient.
      runs: how often it runs; more than once in a `scan`, at least once in a `while`.
    """

    where: str = ""
    derivative: bool = False
    runs: int = 1


@dataclass(frozen=True)
class Convolution:
    """One convolution of a program.

    Attributes:
      place: where it is in the source and in the program.
      x: shape of the input, `(b, n, *space, groups, channels)`: see `jconv.primitive`.
      kernel: shape of the kernel, `(b, *taps, groups, inputs, outputs)`.
      problem: its geometry, dtype and counts.
      algorithm: the one that will run on this platform.
      reason: why it.
      seconds: of one run, measured or predicted; None where nothing is known.
    """

    place: Place
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    problem: Problem
    algorithm: str
    reason: str
    seconds: float | None = None

    @property
    def multiply_adds(self) -> int:
        """Products summed in one run, padding counted as pixels."""
        return self.problem.multiply_adds

    @property
    def bytes(self) -> int:
        """Of input, kernel and output: the least that one run moves."""
        return self.problem.bytes

    @property
    def intensity(self) -> float:
        """Multiplications and additions for each byte; few mean that memory is the limit."""
        return 2 * self.multiply_adds / max(1, self.bytes)

    @property
    def shapes(self) -> str:
        """Images, pixels and channels of input and output; first how many kernels, if several."""
        problem = self.problem
        x, y = (
            "x".join(map(str, (problem.images, *space, problem.groups * channels)))
            for space, channels in ((problem.window.input, problem.inputs),
                                    (problem.window.output, problem.outputs))
        )  # fmt: skip
        return f"{problem.pairs} of " * (problem.pairs > 1) + f"{x} -> {y}"

    @property
    def window(self) -> str:
        """Taps, and whatever else is not plain."""
        window = self.problem.window
        words = ["x".join(map(str, window.taps))]
        for name, values in (("stride", window.stride), ("dilation", window.dilation),
                             ("input dilation", window.input_dilation)):  # fmt: skip
            if set(values) != {1}:
                words.append(f"{name} {_one_or_all(values)}")
        if self.problem.groups > 1:
            words.append(f"{self.problem.groups} groups")
        return ", ".join(words)


@dataclass(frozen=True)
class Inspection:
    """The convolutions of a program, in the order in which it runs them; printed as a table."""

    convolutions: Sequence[Convolution]

    @property
    def seconds(self) -> float | None:
        """Of all runs, measured or predicted; None where one is not known."""
        each = [(c.place.runs, c.seconds) for c in self.convolutions]
        known = [runs * seconds for runs, seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None

    def __rich__(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
        total = sum(c.place.runs * c.multiply_adds for c in self.convolutions)
        table.add_column("convolution", "total", overflow="fold")
        table.add_column("multiply-adds", f"{total:,}", justify="right", no_wrap=True)
        table.add_column("flops/\nbyte", justify="right", no_wrap=True)
        table.add_column("ms", _milliseconds(self.seconds), justify="right", no_wrap=True)
        table.add_column("algorithm, and why", overflow="fold")
        for c in self.convolutions:
            words = ["in a gradient"] * c.place.derivative
            words += [f"{c.place.runs} times"] * (c.place.runs > 1)
            window = ", ".join([c.window, *words])
            table.add_row(
                f"{c.place.where}\n  {c.shapes}\n  {window}",
                f"{c.multiply_adds:,}",
                f"{c.intensity:.1f}",
                _milliseconds(c.seconds),
                f"{c.algorithm}\n  [dim]{c.reason}[/]",
            )
        return table

    def __str__(self) -> str:
        console = Console(width=120)
        with console.capture() as printed:
            console.print(self)
        return printed.get()


def inspect(
    fn: Callable[..., Any], algorithm: str | Algorithm | Plan = "auto", *, timed: bool = False
) -> Callable[..., Inspection]:
    """Lists what a function convolves, by jconv or by `lax`, without running it.

    Args:
      fn: any function of JAX, such as a model or a training step.
      algorithm: for convolutions by `lax`, as in `jconv.accelerate`.
      timed: whether each convolution is run alone, on random numbers, for its `seconds`; they are
        predicted otherwise.

    Returns:
      A function of what `fn` takes, which returns the list; `print` shows it as a table. What
      `lax` does is listed as `jconv.accelerate` would do it.

    Raises:
      ValueError: for an `fn` that cannot be called, or what is no algorithm.

    >>> square = lambda x: jax.lax.conv(x, x, (1, 1), "SAME")
    >>> found = inspect(square, "xla")(jnp.ones((3, 3, 5, 5)))
    >>> [(c.algorithm, c.multiply_adds) for c in found.convolutions]
    [('xla', 16875)]
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be a function. Received: fn={fn!r}.")

    @functools.wraps(fn)
    def inspected(*args, **kwargs) -> Inspection:
        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

        def flat(arrays):
            both = list(leaves)
            for i, array in zip(traced, arrays, strict=True):
                both[i] = array
            args, kwargs = jax.tree.unflatten(tree, both)
            return jax.tree.leaves(fn(*args, **kwargs))

        with accelerated(algorithm):
            jaxpr = jax.make_jaxpr(lambda arrays: [a for a in flat(arrays) if _is_array(a)])(
                [leaves[i] for i in traced]
            )
        platform = jax.default_backend()
        alone = functools.cache(seconds_alone) if timed else None
        found = _equations(jaxpr.jaxpr)
        return Inspection([_described(eqn, place, platform, alone) for eqn, place in found])

    return inspected


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) or hasattr(leaf, "__array__")


def _equations(jaxpr: Jaxpr, around: Place = Place()) -> Iterator[tuple[JaxprEqn, Place]]:
    """Each convolution of a program, at any depth, and where it is."""
    for eqn in jaxpr.eqns:
        # What JAX traced once for several callers knows its place from the call around it alone.
        place = Place(
            where=_where(eqn) or around.where,
            derivative=around.derivative or "transpose" in str(eqn.source_info.name_stack),
            runs=around.runs,
        )
        if eqn.primitive is conv_p:
            yield eqn, place
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(eqn.params):
            yield from _equations(inner, replace(place, runs=place.runs * times))


def _where(eqn: JaxprEqn) -> str:
    """`file.py:line (function)` of the caller: the innermost frame that is in no library."""
    frames = source_info_util.summarize(eqn.source_info, num_frames=50).split("\n")[::-1]
    own = [frame for frame in frames if "site-packages" not in frame]
    path, _, function = (own or frames)[0].partition(" ")
    name, *position = Path(path).name.split(":")
    return f"{name}:{position[0]} {function}" if position else ""


def _described(
    eqn: JaxprEqn, place: Place, platform: str, alone: Callable[..., float] | None
) -> Convolution:
    x, kernel = (variable.aval for variable in eqn.invars)
    chosen = eqn.params["algorithm"]
    result = jnp.dtype(eqn.params["preferred_element_type"])
    problem = Problem.of(x, kernel, eqn.params["window"], result)
    if chosen == "auto":
        choice = choose(problem, platform, eqn.params["tolerance"])
        algorithm, reason, seconds = choice.algorithm, choice.reason, choice.seconds
    else:
        algorithm = next((n for n, a in ALGORITHMS.items() if a == chosen), repr(chosen))
        reason = "asked for"
        seconds = known_seconds(problem, platform)[0].get(algorithm)
    if alone and not any(problem.symbolic) and not problem.is_empty:
        seconds = alone(ALGORITHMS[algorithm] if chosen == "auto" else chosen, problem)
    return Convolution(
        place=place,
        x=shape_of(eqn.invars[0]),
        kernel=shape_of(eqn.invars[1]),
        problem=problem,
        algorithm=algorithm,
        reason=reason,
        seconds=seconds,
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds).removesuffix(" ms")


def _one_or_all(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
