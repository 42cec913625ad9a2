"""The algorithms: one file each, one signature, all computing the same canonical convolution."""

from jconv.algorithms.algorithm import Algorithm as Algorithm
from jconv.algorithms.direct import Direct as Direct
from jconv.algorithms.xla import Xla as Xla

ALGORITHMS: dict[str, Algorithm] = {
    "xla": Xla(),
    "direct": Direct(),
}


def resolve_algorithm(algorithm: str | Algorithm) -> str | Algorithm:
    """The algorithm that a name or a value stands for; `"auto"` stays for `selection` to decide.

    Raises:
      ValueError: for anything else.
    """
    if algorithm == "auto" or isinstance(algorithm, Algorithm):
        return algorithm
    if isinstance(algorithm, str) and algorithm in ALGORITHMS:
        return ALGORITHMS[algorithm]
    raise ValueError(
        f"`algorithm` must be 'auto', one of {list(ALGORITHMS)}, or a value such as "
        f"`jconv.ALGORITHMS['direct']`. Received: algorithm={algorithm!r}."
    )
