"""Text of the benchmark's results."""

from helpers.bench_layers import SMALL_LAYERS

from jconv.bench.implementations import problems_of
from jconv.bench.measurement import Measurement
from jconv.bench.results import regret_summary, slower_summary
from jconv.profiling.race import Race


def test_cases_slower_than_lax_are_listed_with_their_significance():
    def measurement(name, ratio, high):
        return Measurement(name, "dense", "forward", {"jconv": 1.0, "lax": ratio}, {"lax": ratio},
                           {"lax": (0.5, high)}, {}, 1, 1)  # fmt: skip

    text = slower_summary([measurement("noisy", 0.7, 1.1), measurement("slow", 0.8, 0.9),
                           measurement("equal", 0.97, 0.98)])  # fmt: skip
    head, *cases = text.split("\n  ")
    assert "beyond noise: 1 of 3; " in head and "within noise: 1" in head
    assert cases == ["slow, forward: 0.80x", "noisy, forward: 0.70x, within noise"]


def test_the_regret_line_has_the_mean_and_the_worst_case():
    problem = problems_of(SMALL_LAYERS[0])[0]
    races = [
        Race(problem, {"xla": 2.0, "direct": 2.0}, "xla", 1.0),
        Race(problem, {"xla": 4.0, "direct": 1.0}, "xla", 4.0),
    ]
    text = regret_summary("layers", races)
    assert "regret of auto on 2 layers: 2.000 in the geometric mean" in text
    assert "4.00 at worst (xla for direct" in text and "direct 1000 ms" in text
