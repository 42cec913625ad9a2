"""The geometry of a convolution's spatial axes, static and hashable: the class `Window`.

A window holds stride, padding, dilation and the sizes that follow from them, and no values. The two
derivatives of a convolution are convolutions too, so a window also has the windows of its
derivatives.

Along one axis, output `o` and tap `t` meet at input

    i = (o * stride + t * dilation - pad) / input_dilation

and contribute nothing where `i` is not a whole number or lies outside the input. Padding may be
negative, which crops.

Reference: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jconv._core.validation import (
    MAX_DIM,
    as_listed,
    check_int,
    is_integer,
    is_traced,
    per_axis,
    received,
)

PADDINGS = ("SAME", "SAME_LOWER", "VALID", "FULL", "CAUSAL")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """One kernel size on one input size, with one entry per spatial axis.

    Args:
      input: pixels of the input.
      taps: pixels of the kernel.
      stride: pixels between neighbouring outputs.
      padding: pixels of zeros before and after the (dilated) input; negative crops.
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, the gaps filled with zeros.
    """

    input: Sizes
    taps: Sizes
    stride: Sizes
    padding: Pads
    dilation: Sizes
    input_dilation: Sizes

    def __hash__(self) -> int:
        # Hashed on every eager call, so the tuple of tuples is walked once.
        value = self.__dict__.get("_hash")
        if value is None:
            value = hash((self.input, self.taps, self.stride, self.padding, self.dilation,
                          self.input_dilation))  # fmt: skip
            object.__setattr__(self, "_hash", value)
        return value

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.taps)

    @cached_property
    def is_dense(self) -> bool:
        """True if all strides and dilations are 1."""
        gaps = (*self.stride, *self.dilation, *self.input_dilation)
        return gaps.count(1) == len(gaps)

    @cached_property
    def span(self) -> Sizes:
        """Pixels from the first to the last tap, both counted."""
        return tuple(map(dilated_size, self.taps, self.dilation))

    @cached_property
    def padded(self) -> Sizes:
        """Pixels of the input after dilation and padding."""
        sizes = zip(self.input, self.input_dilation, self.padding, strict=True)
        return tuple([dilated_size(n, gap) + low + high for n, gap, (low, high) in sizes])

    @cached_property
    def output(self) -> Sizes:
        """Pixels of the output; zero where the kernel does not fit even once."""
        sizes = zip(self.padded, self.span, self.stride, strict=True)
        return tuple([max(0, (n - span) // stride + 1) for n, span, stride in sizes])

    @property
    def multiply_adds_per_channel_pair(self) -> int:
        """The products of one input channel and one output channel of one image.

        Multiply-adds of networks are usually counted like this: padding costs as much as pixels,
        the gaps of `input_dilation` cost nothing.
        """
        axes = zip(
            self.output, self.taps, self.stride, self.dilation, self.padding, self.input_dilation,
            strict=True,
        )  # fmt: skip
        return math.prod(_products_along_axis(*axis) for axis in axes)

    def input_gradient(self, output: Sizes | None = None) -> Window:
        """Return the window of the derivative in the input, whose taps are reversed.

        `o * stride = i * input_dilation + pad - t * dilation`: stride and input dilation trade
        places, and reversing the taps turns `-t` into `+t`. An `output` other than the
        output size of this window is padded with zeros, or cropped.
        """
        low = [span - 1 - before for span, (before, _) in zip(self.span, self.padding, strict=True)]
        return _window_with_output(
            wanted=self.input,
            low=low,
            input=self.output if output is None else output,
            taps=self.taps,
            stride=self.input_dilation,
            dilation=self.dilation,
            input_dilation=self.stride,
        )

    def kernel_gradient(self) -> Window:
        """Return the window of the derivative in the kernel, which has one output for each tap.

        The formula is symmetric in `o * stride` and `t * dilation`: the two trade places.
        """
        return _window_with_output(
            wanted=self.taps,
            low=[before for before, _ in self.padding],
            input=self.input,
            taps=self.output,
            stride=self.dilation,
            dilation=self.stride,
            input_dilation=self.input_dilation,
        )


def _window_with_output(*, wanted: Sizes, low: Sequence[int], **sizes: Sizes) -> Window:
    """Return a window padded by `low` before, and after so that its output is `wanted`."""
    trial = Window(padding=tuple((before, 0) for before in low), **sizes)
    high = [
        (out - 1) * stride + span - padded
        for out, stride, span, padded in zip(
            wanted, trial.stride, trial.span, trial.padded, strict=True
        )
    ]
    return Window(padding=tuple(zip(low, high, strict=True)), **sizes)


def _products_along_axis(
    output: int, taps: int, stride: int, dilation: int, padding: tuple[int, int], gap: int
) -> int:
    # Whether a tap meets a pixel depends on remainders alone, so all pairs of two remainders are
    # counted at once.
    return sum(
        len(range(o, output, gap)) * len(range(t, taps, gap))
        for o in range(min(gap, output))
        for t in range(min(gap, taps))
        if (o * stride + t * dilation - padding[0]) % gap == 0
    )


def dilated_size(n: int, dilation: int) -> int:
    """Return the pixels spanned by `n` pixels at distances of `dilation`."""
    return max(0, (n - 1) * dilation + 1)


def output_size(
    input: int,
    kernel: int,
    stride: int = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int = 1,
) -> int:
    """Return the number of outputs of a kernel along one axis.

    It is `floor((n + pads - dilation * (k - 1) - 1) / stride) + 1`.

    Args:
      input: pixels of the input.
      kernel: pixels of the kernel.
      stride: pixels between neighbouring outputs.
      padding: a name (see `jconv.conv`), pixels on both sides, or a pair (before, after).
      dilation: pixels between neighbouring taps.

    Raises:
      ValueError: if the kernel does not fit, or an argument is out of range.

    >>> output_size(224, 7, stride=2, padding=3)
    112
    """
    n = check_int("input", input, min=0)
    k = check_int("kernel", kernel, min=1)
    return make_window((n,), (k,), stride=stride, padding=padding, dilation=dilation).output[0]


def make_window(
    input: Sizes,
    taps: Sizes,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    may_be_empty: bool = False,
) -> Window:
    """Check the options of a caller and resolve them to a window.

    Args:
      input: pixels of the input.
      taps: pixels of the kernel.
      stride: one for all spatial axes or one for each, as are the dilations.
      padding: see `resolve_padding`.
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs.
      may_be_empty: whether to accept a kernel that fits nowhere, whose output has no pixels.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.
    """
    rank = len(taps)
    for axis, size in enumerate(taps):
        if size < 1:
            raise ValueError(
                f"`kernel` must have at least one tap along every spatial axis. "
                f"Received: {size} along axis {axis} of {tuple(taps)}."
            )
    stride = per_axis("stride", stride, rank)
    dilation = per_axis("dilation", dilation, rank)
    input_dilation = per_axis("input_dilation", input_dilation, rank)
    span = tuple(map(dilated_size, taps, dilation))
    dilated = tuple(map(dilated_size, input, input_dilation))
    pads = resolve_padding(padding, dilated, span, stride)
    window = Window(tuple(input), tuple(taps), stride, pads, dilation, input_dilation)
    _check_countable(window)
    for axis, (size, padded, extent) in enumerate(
        zip(window.output, window.padded, span, strict=True)
    ):
        # An empty input makes an empty output; one smaller than the kernel is a mistake.
        if size == 0 and input[axis] > 0 and not may_be_empty:
            raise ValueError(
                f"The kernel does not fit: along spatial axis {axis} it spans {extent} pixels "
                f"(kernel {taps[axis]}, dilation {dilation[axis]}) and the padded input has "
                f"{padded} (input {input[axis]}, padding {pads[axis]}), so nothing is left. "
                f"Use a smaller kernel or dilation, or more `padding`."
            )
    return window


def _check_countable(window: Window) -> None:
    for axis, (n, padded, extent) in enumerate(
        zip(window.input, window.padded, window.span, strict=True)
    ):
        before, after = window.padding[axis]
        # A crop on one side may make up for padding on the other only once both are counted.
        if max(padded, padded - before, padded - after, extent) > MAX_DIM:
            raise ValueError(
                f"`padding`, `dilation` and `input_dilation` must leave at most {MAX_DIM:,} pixels "
                f"along an axis, which is what XLA counts. Received along spatial axis {axis}: "
                f"padding={window.padding[axis]}, dilation={window.dilation[axis]}, "
                f"input_dilation={window.input_dilation[axis]}, with {n} pixels and "
                f"{window.taps[axis]} taps, which span {padded} and {extent}. Use less of them."
            )


def resolve_padding(padding: Any, dilated: Sizes, span: Sizes, stride: Sizes) -> Pads:
    """Return the pixels before and after each axis, from a name, an int, ints or pairs.

    `SAME` keeps `ceil(n / stride)` outputs and puts the odd pixel after (`SAME_LOWER`: before);
    `VALID` adds nothing; `FULL` keeps every output that overlaps the input; with `CAUSAL` (1-D)
    no output depends on a later input.
    """
    rank = len(span)
    if isinstance(padding, str):
        return _named_padding(padding, dilated, span, stride)
    if is_integer(padding) and abs(padding) <= MAX_DIM:
        return ((int(padding), int(padding)),) * rank
    allowed = (
        f"`padding` must be one of {list(PADDINGS)}, an int, or for each of the {rank} spatial "
        f"axes an int or a pair (before, after)."
    )
    entries = as_listed(padding)
    if entries is None:
        raise ValueError(f"{allowed} {received('padding', padding)}")
    if rank == 1 and len(entries) == 2 and all(map(is_integer, entries)):
        entries = (entries,)  # a bare pair is unambiguous in one dimension
    if len(entries) != rank:
        raise ValueError(f"{allowed} Received: padding={padding!r}, which has {len(entries)}.")
    pads = []
    for entry in entries:
        pair: Any = (entry, entry) if is_integer(entry) else as_listed(entry)
        if pair is None or len(pair) != 2 or not all(map(is_integer, pair)):
            where = "" if is_traced(padding) else f" with {entry!r} in it."
            raise ValueError(f"{allowed} {received('padding', padding)}{where}")
        if max(map(abs, pair)) > MAX_DIM:
            raise ValueError(f"{allowed} {received('padding', padding)} At most {MAX_DIM:,}.")
        pads.append((int(pair[0]), int(pair[1])))
    return tuple(pads)


def resolve_padding_mode(mode: str) -> str:
    """Return a padding mode, checked.

    Raises:
      ValueError: if there is no such mode.
    """
    if not isinstance(mode, str) or mode not in PADDING_MODES:
        raise ValueError(
            f"`padding_mode` must be one of {list(PADDING_MODES)}. {received('padding_mode', mode)}"
        )
    return mode


def _named_padding(name: str, dilated: Sizes, span: Sizes, stride: Sizes) -> Pads:
    match name.upper():
        case "VALID":
            return ((0, 0),) * len(span)
        case "FULL":
            return tuple((extent - 1, extent - 1) for extent in span)
        case "CAUSAL":
            if len(span) != 1:
                raise ValueError(
                    f"`padding='CAUSAL'` is defined for one spatial axis, the axis of time. "
                    f"Received: {len(span)} spatial axes. Give pairs (before, after) instead."
                )
            return ((span[0] - 1, 0),)
        case "SAME" | "SAME_LOWER":
            pads = []
            for n, extent, step in zip(dilated, span, stride, strict=True):
                outputs = -(-n // step)
                total = max(0, (outputs - 1) * step + extent - n) if outputs else 0
                small, large = total // 2, total - total // 2
                pads.append((small, large) if name.upper() == "SAME" else (large, small))
            return tuple(pads)
    raise ValueError(
        f"`padding` must be one of {list(PADDINGS)}, an int, or pairs (before, after). "
        f"Received: padding={name!r}."
    )
