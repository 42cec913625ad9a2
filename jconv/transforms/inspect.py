"""What a function convolves: where, how much, by which algorithm, and why."""

from __future__ import annotations

import functools
import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from jconv._core.jaxpr import shape_of
from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.functional.primitive import conv_p
from jconv.profiling.single_op import seconds_alone
from jconv.selection.choice import milliseconds
from jconv.selection.plan import Plan
from jconv.selection.select import estimated_seconds, select_algorithm
from jconv.transforms.accelerate import accelerated

PACKAGE = Path(__file__).parent.parent
LAYERS = ("conv", "conv_norm", "conv_transpose", "local_conv", "sequential", "branches")
# What stands between a layer and the primitive. A convolution is where the layer is called: in a
# network, in one of our blocks, or in the caller's own code.
for _path in (
    *(PACKAGE / "functional").glob("*.py"),
    *(PACKAGE / "transforms").glob("*.py"),
    *(PACKAGE / "nn" / f"{name}.py" for name in LAYERS),
):
    source_info_util.register_exclusion(str(_path))
source_info_util.register_exclusion(str(PACKAGE / "algorithms"))

FRAME = re.compile(r"(?P<path>.+?):(?P<line>\d+)(:\d+)? \((?P<function>.+)\)")
# What JAX writes into the names of what it transposed; a scope of that name is something else.
(TRANSPOSED,) = source_info_util.new_name_stack().transform("transpose").stack


@dataclass(frozen=True)
class Place:
    """Where a convolution is.

    Attributes:
      where: file, line and function that asked for it, or for what it is a gradient of.
      scope: each `jax.named_scope` around it, which tells apart what one line calls.
      derivative: whether it belongs to a gradient.
      runs: how often it runs; more than once in a `scan`, at least once in a `while`.
      branches: each `cond` around it, from the outside in, by its number in the program, and the
        number of its branch.
    """

    where: str = ""
    scope: tuple[str, ...] = ()
    derivative: bool = False
    runs: int = 1
    branches: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Convolution:
    """One convolution of a program.

    Attributes:
      place: where it is in the source and in the program.
      x: shape of the input, `(b, n, *space, groups, channels)`: see `jconv.functional.primitive`.
      kernel: shape of the kernel, `(b, *taps, groups, inputs, outputs)`.
      problem: its geometry, dtype and counts.
      algorithm: the one that will run on this platform, by its name or, if it has none, written
        out.
      value: the algorithm itself.
      reason: why it.
      seconds: of one run, measured or predicted; None where nothing is known.
    """

    place: Place
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    problem: Problem
    algorithm: str
    value: Algorithm
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
    """The convolutions of a program, in the order in which it runs them; printed as a table.

    Of a `cond` all branches are listed, and the dearest counts in what is summed.
    """

    convolutions: Sequence[Convolution]

    @property
    def multiply_adds(self) -> int:
        """Of all runs."""
        return self._total(lambda c: c.multiply_adds)

    @property
    def bytes(self) -> int:
        """Of all runs."""
        return self._total(lambda c: c.bytes)

    @property
    def seconds(self) -> float | None:
        """Of all runs, measured or predicted; None where one is not known."""
        if any(c.seconds is None for c in self.convolutions):
            return None
        return self._total(lambda c: c.seconds)

    def _total(self, cost: Callable[[Convolution], Any]) -> Any:
        each = [(c.place.branches, c.place.runs * cost(c)) for c in self.convolutions]
        return _dearest(each)

    def __rich__(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
        total = f"{self.multiply_adds:,}\n{_binary(self.bytes)}"
        table.add_column("convolution", "total", overflow="fold")
        heads = "multiply-adds\nbytes\nflops/byte"
        table.add_column(heads, total, justify="right", no_wrap=True)
        table.add_column("ms", _milliseconds(self.seconds), justify="right", no_wrap=True)
        table.add_column("algorithm, and why", overflow="fold")
        for c in self.convolutions:
            # A checkpoint, and what is pulled back through it, both have the name of its scope.
            scope = "/".join(name for name, _ in itertools.groupby(c.place.scope))
            words = [f"in {scope}"] * bool(scope)
            words += ["in a gradient"] * c.place.derivative
            words += ["in a branch"] * bool(c.place.branches)
            words += [f"{c.place.runs} times"] * (c.place.runs > 1)
            window = ", ".join([c.window, *words])
            table.add_row(
                f"{c.place.where}\n  {c.shapes}\n  {window}",
                f"{c.multiply_adds:,}\n{_binary(c.bytes)}\n{c.intensity:.1f}",
                _milliseconds(c.seconds),
                f"{c.algorithm}\n  [dim]{c.reason}[/]",
            )
        return table

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((120, 24)).columns
        console = Console(width=width, color_system=None)
        with console.capture() as printed:
            console.print(self)
        return printed.get()


def _dearest(costs: Iterable[tuple[tuple[tuple[int, int], ...], Any]]) -> Any:
    """The sum of costs, each with the branches around it; of a `cond` only its dearest branch's."""
    total, conds = 0, defaultdict(lambda: defaultdict(list))
    for branches, cost in costs:
        if branches:
            (cond, branch), *inner = branches
            conds[cond][branch].append((inner, cost))
        else:
            total += cost
    return total + sum(max(map(_dearest, each.values())) for each in conds.values())


def inspect(
    fn: Callable[..., Any], *, algorithm: str | Algorithm | Plan = "auto", timed: bool = False
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
    >>> found = inspect(square, algorithm="xla")(jnp.ones((3, 3, 5, 5)))
    >>> [(c.algorithm, c.multiply_adds) for c in found.convolutions]
    [('xla', 16875)]
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be a function. Received: fn={fn!r}.")

    @functools.wraps(fn)
    def inspected(*args, **kwargs) -> Inspection:
        # A model may change when it is called, which Flax allows in the trace it was made in.
        leaves, tree = jax.tree.flatten((fn, args, kwargs))
        # What it holds stays known: some algorithms look at the kernel's values.
        own = len(jax.tree.leaves(fn))
        traced = [
            i
            for i, leaf in enumerate(leaves)
            if isinstance(leaf, jax.ShapeDtypeStruct) or (i >= own and _is_array(leaf))
        ]

        def flat(arrays):
            both = list(leaves)
            for i, array in zip(traced, arrays, strict=True):
                both[i] = array
            here, args, kwargs = jax.tree.unflatten(tree, both)
            return jax.tree.leaves(here(*args, **kwargs))

        with accelerated(algorithm):
            jaxpr = jax.make_jaxpr(lambda arrays: [a for a in flat(arrays) if _is_array(a)])(
                [leaves[i] for i in traced]
            )
        platform = jax.default_backend()
        alone = functools.cache(seconds_alone) if timed else None
        found = _equations(jaxpr.jaxpr, Place(), itertools.count())
        return Inspection([_described(eqn, place, platform, alone) for eqn, place in found])

    return inspected


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) or hasattr(leaf, "__array__")


def _equations(
    jaxpr: Jaxpr, around: Place, conds: Iterator[int]
) -> Iterator[tuple[JaxprEqn, Place]]:
    """Each convolution of a program, at any depth, and where it is."""
    for eqn in jaxpr.eqns:
        # What JAX traced once for several callers knows its place from the call around it alone.
        place = replace(
            around,
            where=_where(eqn) or around.where,
            scope=(*around.scope, *_scopes(eqn)),
            derivative=around.derivative or _is_transposed(eqn),
        )
        if eqn.primitive is conv_p:
            yield eqn, place
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        inside = replace(place, runs=place.runs * times)
        cond = next(conds) if eqn.primitive.name == "cond" else None
        for i, inner in enumerate(jaxprs_in_params(eqn.params)):
            branches = inside.branches if cond is None else (*inside.branches, (cond, i))
            yield from _equations(inner, replace(inside, branches=branches), conds)


def _scopes(eqn: JaxprEqn) -> Iterator[str]:
    names = eqn.source_info.name_stack.stack
    return (name.name for name in names if type(name) is not type(TRANSPOSED))


def _is_transposed(eqn: JaxprEqn) -> bool:
    names = eqn.source_info.name_stack.stack
    return any(type(name) is type(TRANSPOSED) and name == TRANSPOSED for name in names)


def _where(eqn: JaxprEqn) -> str:
    """`file.py:line (function)` of the caller: the innermost frame that is in no library."""
    summary = source_info_util.summarize(eqn.source_info, num_frames=50)
    frames = [match for line in summary.split("\n")[::-1] if (match := FRAME.fullmatch(line))]
    own = [f for f in frames if _is_own(f["path"])]
    for frame in (own or frames)[:1]:
        return f"{Path(frame['path']).name}:{frame['line']} ({frame['function']})"
    return ""


def _is_own(path: str) -> bool:
    return "site-packages" not in path or Path(path).is_relative_to(PACKAGE)


def _described(
    eqn: JaxprEqn, place: Place, platform: str, alone: Callable[..., float] | None
) -> Convolution:
    x, kernel = (variable.aval for variable in eqn.invars)
    chosen = eqn.params["algorithm"]
    result = jnp.dtype(eqn.params["preferred_element_type"])
    problem = Problem.of(x, kernel, eqn.params["window"], result)
    if chosen == "auto":
        choice = select_algorithm(problem, platform, eqn.params["selector"].tolerance)
        algorithm, reason, seconds = choice.algorithm, choice.reason, choice.seconds
        value = ALGORITHMS[algorithm]
    else:
        algorithm = next((n for n, a in ALGORITHMS.items() if a == chosen), repr(chosen))
        value, reason = chosen, "asked for"
        seconds = estimated_seconds(problem, platform)[0].get(algorithm)
    if alone and not any(problem.symbolic) and not problem.is_empty:
        seconds = alone(value, problem)
    return Convolution(
        place=place,
        x=shape_of(eqn.invars[0]),
        kernel=shape_of(eqn.invars[1]),
        problem=problem,
        algorithm=algorithm,
        value=value,
        reason=reason,
        seconds=seconds,
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds).removesuffix(" ms")


def _binary(count: float) -> str:
    """Bytes, to three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"


def _one_or_all(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
