"""Names for code outside of this package that extends it.

- An algorithm: a frozen dataclass derived from `Algorithm`, with `solve` and `cost`. A value of it
  goes wherever jconv takes `algorithm=`; see `jconv.Direct` for an example.
- A layer that `jconv.structure.merge` shall know: `register_merge_rule` with a function that
  rewrites it in terms of known layers.
"""

from jconv._core.geometry import Window as Window
from jconv._core.problem import Cost as Cost
from jconv._core.problem import Problem as Problem
from jconv.algorithms.base import Algorithm as Algorithm
from jconv.structure.layer_rules import register_merge_rule as register_merge_rule
