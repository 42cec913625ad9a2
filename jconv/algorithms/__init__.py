"""The convolution algorithms, one per file. All compute the canonical convolution."""

from typing import Any

from jconv.algorithms.base import Algorithm as Algorithm
from jconv.algorithms.direct import Direct as Direct
from jconv.algorithms.fft import FFT as FFT
from jconv.algorithms.im2col import Im2col as Im2col
from jconv.algorithms.overlap_add import OverlapAdd as OverlapAdd
from jconv.algorithms.phases import Phases as Phases
from jconv.algorithms.split import Split as Split
from jconv.algorithms.winograd import Winograd as Winograd
from jconv.algorithms.xla import Xla as Xla

ALGORITHMS: dict[str, Algorithm] = {
    "xla": Xla(),
    "direct": Direct(),
    "im2col": Im2col(),
    "winograd": Winograd(),
    "fft": FFT(),
    "overlap_add": OverlapAdd(),
    "phases": Phases(),
    "split": Split(),
}


def resolve_algorithm(algorithm: Any, argument: str = "algorithm") -> str | Algorithm:
    """Return the algorithm that a name or a value stands for.

    `"auto"` is returned unchanged; `jconv.selection` resolves it.

    Raises:
      ValueError: if `algorithm` is anything else, or is not hashable. The message names `argument`.
    """
    if isinstance(algorithm, Algorithm):
        if type(algorithm).__hash__ is None:
            raise ValueError(
                f"`{argument}` must be hashable, to be part of a compiled program. Received: "
                f"{argument}={algorithm!r}. Declare its class with `@dataclass(frozen=True)`."
            )
        return algorithm
    if isinstance(algorithm, str):
        if algorithm == "auto":
            return algorithm
        if algorithm in ALGORITHMS:
            return ALGORITHMS[algorithm]
    raise ValueError(
        f"`{argument}` must be 'auto', one of {list(ALGORITHMS)}, or a value such as "
        f"`jconv.ALGORITHMS['direct']`. Received: {argument}={algorithm!r}."
    )
