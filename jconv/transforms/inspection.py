"""The convolutions of a program, as `jconv.inspect` lists them: data, totals and a table."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jconv._core.problem import Problem
from jconv._core.rich_repr import RichRepr
from jconv.algorithms import Algorithm
from jconv.selection.choice import milliseconds

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class CallSite:
    """The position of a convolution in the source code and in the program.

    Attributes:
      source: file, line and function of the call; for a gradient, those of the call that it is the
        gradient of.
      scope: the names of the `jax.named_scope` contexts around it, outermost first. They
        distinguish convolutions that one line calls.
      is_gradient: True if it belongs to a gradient.
      runs: how many times it runs: the product of the lengths of the `scan` loops around it. A
        `while` loop counts as one run.
      branches: the `cond` expressions around it, outermost first: the number of each in the
        program, and the number of its branch.
    """

    source: str = ""
    scope: tuple[str, ...] = ()
    is_gradient: bool = False
    runs: int = 1
    branches: tuple[tuple[int, int], ...] = ()

    @property
    def notes(self) -> list[str]:
        """Scope, gradient, branch and number of runs in words, where they apply."""
        # A checkpoint and its transpose both carry the name of the scope: repeats are dropped.
        scope = "/".join(name for name, _ in itertools.groupby(self.scope))
        notes = [f"in {scope}"] * bool(scope)
        notes += ["in a gradient"] * self.is_gradient
        notes += ["in a branch"] * bool(self.branches)
        return notes + [f"{self.runs} times"] * (self.runs > 1)


@dataclass(frozen=True)
class Convolution:
    """One convolution of a program.

    Attributes:
      site: its position in the source code and in the program.
      x: shape of the input, `(b, n, *space, groups, channels)`: see `jconv.functional.primitive`.
      kernel: shape of the kernel, `(b, *taps, groups, inputs, outputs)`.
      problem: geometry, dtype and counts.
      algorithm: name in `jconv.ALGORITHMS` of the algorithm that runs on this platform, or its
        `repr` if it has none.
      value: the algorithm itself.
      reason: why this algorithm runs.
      seconds: time of one run, measured or predicted; None if unknown.
    """

    site: CallSite
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    problem: Problem
    algorithm: str
    value: Algorithm
    reason: str
    seconds: float | None = None

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one run; padding is counted as pixels."""
        return self.problem.multiply_adds

    @property
    def bytes(self) -> int:
        """Bytes of input, kernel and output: a lower bound of the memory traffic of one run."""
        return self.problem.bytes

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte. A low value means that memory is the bottleneck."""
        return 2 * self.multiply_adds / max(1, self.bytes)

    @property
    def shapes(self) -> str:
        """Images, pixels and channels of input and output, such as `"2x8x8x4 -> 2x8x8x6"`."""
        problem = self.problem
        x, y = (
            "x".join(map(str, (problem.images, *space, problem.groups * channels)))
            for space, channels in ((problem.window.input, problem.inputs),
                                    (problem.window.output, problem.outputs))
        )  # fmt: skip
        return f"{problem.pairs} of " * (problem.pairs > 1) + f"{x} -> {y}"

    @property
    def window(self) -> str:
        """Kernel size, and stride, dilations and groups other than 1: `"3x3, stride 2"`."""
        window = self.problem.window
        words = ["x".join(map(str, window.taps))]
        for name, values in (("stride", window.stride), ("dilation", window.dilation),
                             ("input dilation", window.input_dilation)):  # fmt: skip
            if set(values) != {1}:
                words.append(f"{name} {_one_or_all(values)}")
        if self.problem.groups > 1:
            words.append(f"{self.problem.groups} groups")
        return ", ".join(words)


@dataclass(frozen=True, repr=False)
class Inspection(RichRepr):
    """The convolutions of a program in the order in which they run; printed as a table.

    All branches of a `cond` are listed. The totals count only its most expensive branch.

    Attributes:
      convolutions: one entry for each convolution in the program.
    """

    convolutions: Sequence[Convolution]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all runs."""
        return self._total(lambda c: c.multiply_adds)

    @property
    def bytes(self) -> int:
        """Bytes of inputs, kernels and outputs of all runs."""
        return self._total(lambda c: c.bytes)

    @property
    def seconds(self) -> float | None:
        """Time of all runs, measured or predicted; None if that of any convolution is unknown."""
        if any(c.seconds is None for c in self.convolutions):
            return None
        return self._total(lambda c: c.seconds)

    def _total(self, cost: Callable[[Convolution], Any]) -> Any:
        return _sum_over_branches(
            (c.site.branches, c.site.runs * cost(c)) for c in self.convolutions
        )

    def __rich__(self) -> Table:
        """Return a table with one row for each convolution and a total."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
        total = f"{self.multiply_adds:,}\n{_binary(self.bytes)}"
        table.add_column("convolution", "total", overflow="fold")
        header = "multiply-adds\nbytes\nflops/byte"
        table.add_column(header, total, justify="right", no_wrap=True)
        table.add_column("ms", _milliseconds(self.seconds), justify="right", no_wrap=True)
        table.add_column("algorithm, and why", overflow="fold")
        for c in self.convolutions:
            window = ", ".join([c.window, *c.site.notes])
            table.add_row(
                escape(f"{c.site.source}\n  {c.shapes}\n  {window}"),
                f"{c.multiply_adds:,}\n{_binary(c.bytes)}\n{c.intensity:.1f}",
                _milliseconds(c.seconds),
                f"{escape(c.algorithm)}\n  [dim]{escape(c.reason)}[/]",
            )
        return table


def _sum_over_branches(costs: Iterable[tuple[Sequence[tuple[int, int]], Any]]) -> Any:
    """Add costs, each given with the branches around it; count the largest branch of a `cond`."""
    total, conds = 0, defaultdict(lambda: defaultdict(list))
    for branches, cost in costs:
        if branches:
            (cond, branch), *inner = branches
            conds[cond][branch].append((inner, cost))
        else:
            total += cost
    return total + sum(max(map(_sum_over_branches, cond.values())) for cond in conds.values())


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds).removesuffix(" ms")


def _binary(count: float) -> str:
    """Write a number of bytes with three digits and a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"


def _one_or_all(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
