"""The benchmark: all contenders compute the same, and what is measured is told right."""

import contextlib
import itertools
import json

import jax
import numpy as np
import pytest

import jconv
from jconv import accelerate
from jconv.bench.implementations import by_jconv, by_lax, passes, torch_passes
from jconv.bench.layers import LAYERS, choose_layers, dense, depthwise, signal, transposed
from jconv.bench.networks import NETWORKS
from jconv.bench.results import regret_line, slower_line
from jconv.bench.suite import (
    LOOPS,
    MERGED,
    Row,
    bench,
    choose_networks,
    geometric_mean,
    multiply_adds,
)
from jconv.cli import main
from jconv.profiling.race import problems_of, race
from jconv.profiling.timing import interleaved, interval, paired_ratio
from jconv.selection.select import eligible_algorithms, select_algorithm

SCANNED = LOOPS[0]
SMALL = (
    dense("strided", 2, 9, 3, 4, 6, stride=2),
    dense("valid", 2, 9, 3, 4, 6, stride=2, padding="VALID"),
    dense("not square", 2, 7, (1, 5), 4, 6),
    dense("groups", 2, 7, 3, 4, 6, groups=2),
    depthwise("depthwise", 2, 7, 3, 5, stride=2),
    transposed("transposed", 2, 5, 4, 3),
    dense("dilated signal", 2, 20, (2,), 4, 6, dilation=5, padding="CAUSAL"),
    signal("long filter", 1, 12, 12, 3),
    dense("volume", 1, 5, (3, 3, 3), 2, 4),
    dense("kernels", 2, 6, 3, 4, 5, kernels=3),
    dense("examples", 3, 6, 3, 2, 4, examples=True),
)
every_layer = pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)


@every_layer
def test_jconv_and_lax_compute_the_same(layer):
    ours, theirs = (passes(layer, by(layer)) for by in (by_jconv, by_lax))
    for which in ("forward", "gradients"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            ours[which](),
            theirs[which](),
        )


@every_layer
def test_torch_computes_the_same(layer):
    pytest.importorskip("torch", reason="pip install 'jconv[bench]'")
    ours, theirs = passes(layer, by_jconv(layer)), torch_passes(layer)
    if layer.examples:
        assert not theirs
        return
    y, x_bar, kernel_bar = map(np.asarray, ours["gradients"]())
    if layer.kernels:
        y, kernel_bar = (np.concatenate(list(a), axis=-1) for a in (y, kernel_bar))
    turned = [slice(None, None, -1 if layer.input_dilation > 1 else 1)] * layer.rank
    order = (-2, -1) if layer.input_dilation > 1 else (-1, -2)
    expected = [np.moveaxis(y, -1, 1), np.moveaxis(x_bar, -1, 1),
                np.moveaxis(kernel_bar[tuple(turned)], order, (0, 1))]  # fmt: skip
    for wanted, got in zip(expected, theirs["gradients"](), strict=True):
        np.testing.assert_allclose(got.detach().cpu().numpy(), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(theirs["forward"]().cpu().numpy(), expected[0], rtol=1e-4, atol=1e-4)


def test_there_are_layers_of_every_kind():
    assert len(LAYERS) >= 40
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    quick = choose_layers(quick=True)
    assert {layer.kind for layer in quick} == {layer.kind for layer in LAYERS}
    assert {layer.kind for layer in choose_layers("depthwise")} == {"depthwise"}


def test_layers_that_do_not_exist(capsys):
    assert main(["bench", "--only", "hexagonal"]) == 2
    assert "`--only` must be part of a layer's name or kind: ['stem'," in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_anything_is_timed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", "--out", str(tmp_path / "file" / "bench")]) == 2
    assert "jconv bench: " in capsys.readouterr().err


def test_multiply_adds_of_a_published_layer():
    (layer,) = choose_layers("googlenet conv2")
    assert multiply_adds(layer) == layer.x[0] * 56 * 56 * 9 * 64 * 192


def test_measurements_are_in_turn():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = interleaved(calls, budget=0, rounds=(6, 9))
    assert [len(values) for values in times.values()] == [6, 6, 6]
    turns = [name for name, _ in itertools.groupby(order)]
    assert turns[:3] == ["a", "b", "c"]  # once, to know how long
    followers = {(one, next_) for one, next_ in itertools.pairwise(turns[3:])}
    assert len(followers) > 3  # no one always has the same one before it
    assert paired_ratio([2.0, 9.0, 4.0], to=[1.0, 3.0, 4.0]) == 2.0
    assert geometric_mean([1, 100]) == pytest.approx(10)


def test_the_interval_of_a_median():
    ones = [1.0] * 25
    assert interval([float(i) for i in range(25)], to=ones) == (7, 17)  # 96 % by the binomial
    assert interval([2.0, 1.0, 3.0], to=[1.0] * 3) == (1, 3)


def test_what_was_measured_survives_a_ctrl_c(tmp_path, monkeypatch):
    def interrupted(names, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jconv.cli.bench.bench_networks", interrupted)
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL[:1])
    with contextlib.suppress(KeyboardInterrupt):
        main(["bench", "--quick", "--out", str(tmp_path / "bench")])
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [row["which"] for row in found["rows"]] == ["forward", "gradients"]


def test_rows_and_files(tmp_path, capsys, monkeypatch):
    measured = {"jconv": [1.0, 2.0, 2.0], "lax": [2.0, 6.0, 8.0], "torch": [1.0, 1.0, 1.0]}
    measured["in turn"] = measured["torch"]
    monkeypatch.setattr(
        "jconv.bench.suite.interleaved", lambda calls, **_: {n: measured[n] for n in calls}
    )
    rows: list[Row] = []
    assert bench(SMALL[:1], budget=0, each=rows.append) == rows
    assert [row.which for row in rows] == ["forward", "gradients"]
    for row in rows:
        assert (row.seconds["jconv"], row.seconds["lax"]) == (2.0, 6.0)
        assert row.speedup["lax"] == 3.0  # the median of 2, 3 and 4
        assert row.multiply_adds == 2 * 5 * 5 * 9 * 4 * 6
        count = 3 if row.which == "gradients" else 1  # 2 flops for each, in 2 seconds
        assert row.gflops == pytest.approx(count * row.multiply_adds / 1e9)
    forward, gradients = bench(SMALL[-1:], budget=0)  # of single examples, in the kernel alone
    assert gradients.gflops == pytest.approx(2 * forward.gflops)
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL[:2])
    monkeypatch.setattr("jconv.cli.bench.choose_networks", lambda only: ["ConvNeXt block", SCANNED])
    assert main(["bench", "--quick", "--out", str(tmp_path / "some" / "where-0.12")]) == 0
    found = json.loads((tmp_path / "some" / "where-0.12.json").read_text())
    assert found["matrix_product_gflops"] > 0
    names = list(dict.fromkeys(row["layer"] for row in found["rows"]))
    assert names[0] == "strided"  # both layers are of one kind
    assert names[1:] == ["ConvNeXt block", SCANNED]
    assert (tmp_path / "some" / "where-0.12.png").stat().st_size > 1000
    assert len(list((tmp_path / "some").iterdir())) == 2
    assert "strided" in capsys.readouterr().out


def test_a_quick_bench_of_one_kind_with_regret(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL[:5])
    drawn = lambda count: [problems_of(SMALL[7])[0]] * count
    monkeypatch.setattr("jconv.cli.bench.draw_problems", drawn)
    out = tmp_path / "bench"
    words = ["--quick", "--only", "depthwise", "--regret", "1", "--out", str(out)]
    assert main(["bench", *words]) == 0
    found = json.loads(out.with_suffix(".json").read_text())
    assert [row["layer"] for row in found["rows"]] == ["depthwise"] * 2
    raced = {what: len(some["races"]) for what, some in found["regret"].items()}
    assert raced == {"published convolutions": 3, "random convolutions": 1}
    told = " ".join(capsys.readouterr().out.split())
    assert "regret of auto on 3 published convolutions" in told
    assert "regret of auto on 1 random convolutions" in told


@pytest.mark.slow
def test_steps_are_timed_in_every_loop(tmp_path):
    out = tmp_path / "loops"
    assert main(["bench", "--quick", "--only", "training steps", "--out", str(out)]) == 0
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [row["layer"] for row in rows] == list(LOOPS)
    assert all(row["seconds"].keys() == {"jconv", "lax", "in turn"} for row in rows)


@pytest.mark.slow
def test_inception_is_timed_in_training_and_merged(tmp_path):
    out = tmp_path / "inception"
    assert main(["bench", "--quick", "--only", "Inception", "--out", str(out)]) == 0
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [(row["layer"], row["which"]) for row in rows] == [
        ("Inception v3", "forward"), ("Inception v3", "gradients"), (MERGED, "forward")
    ]  # fmt: skip
    assert set(rows[-1]["seconds"]) == {"jconv", "lax", "unmerged"}


@every_layer
def test_a_layer_is_two_or_three_problems(layer):
    problems = problems_of(layer)
    assert len(problems) == (2 if layer.examples else 3)
    assert problems[0].window.taps == layer.kernel[: layer.rank]


@pytest.mark.parametrize("layer", [SMALL[0], SMALL[4]], ids=["strided", "depthwise"])
def test_a_race_is_of_every_algorithm(layer):
    problem = problems_of(layer)[-1]
    found = race(problem, budget=0, final=True)
    assert set(found.seconds) == set(eligible_algorithms(problem))
    assert found.chosen == select_algorithm(problem, jax.default_backend()).algorithm
    assert all(1e-7 < seconds < 10 for seconds in found.seconds.values())


def test_the_regret_of_a_race_is_that_of_the_final(monkeypatch):
    problem, raced = problems_of(SMALL[0])[0], []
    chosen = select_algorithm(problem, jax.default_backend()).algorithm

    def measured(calls, **options):
        raced.append(set(calls))
        if len(raced) == 1:  # two are faster than the chosen
            times = {name: [8.0] for name in calls} | {chosen: [4.0]}
            return times | {"winograd": [2.0], "im2col": [3.0]}
        return {name: [1.5, 3.0, 9.0] if name == chosen else [1.0] * 3 for name in calls}

    monkeypatch.setattr("jconv.profiling.race.HOPELESS", 1e9)
    monkeypatch.setattr(
        "jconv.profiling.race.select_algorithm", lambda *_: select_algorithm(problem, "cpu")
    )
    monkeypatch.setattr("jconv.profiling.race.interleaved", measured)
    first = race(problem)
    assert (first.chosen, first.fastest, first.regret) == (chosen, "winograd", 2.0)
    raced.clear()
    final = race(problem, final=True)
    assert raced[1] == {chosen, "winograd"} and raced[0] == set(eligible_algorithms(problem))
    assert final.fastest == "winograd" and final.regret == 3.0


def test_the_hopeless_are_called_once(monkeypatch):
    problem, raced = problems_of(SMALL[0])[0], []

    def call_of(algorithm, *_):
        call = lambda: None
        call.took = 1.0 if algorithm == jconv.ALGORITHMS["im2col"] else 0.1
        return call

    def measured(calls, **options):
        raced.extend(calls)
        return {name: [0.2] for name in calls}

    monkeypatch.setattr("jconv.profiling.race.call_of", call_of)
    monkeypatch.setattr("jconv.profiling.race.seconds", lambda call: call.took)
    monkeypatch.setattr("jconv.profiling.race.interleaved", measured)
    found = race(problem)
    assert set(raced) == set(eligible_algorithms(problem)) - {"im2col"}
    assert found.seconds == dict.fromkeys(raced, 0.2) | {"im2col": 1.0}


@pytest.mark.parametrize("name, convolutions", [("EfficientNet-Lite0", 49), ("ConvNeXt block", 3)])
def test_networks_compute_the_same_accelerated(name, convolutions):
    network = NETWORKS[name](quick=True)
    arguments = (network.parameters, network.x)
    plain, ours = (jax.jit(f)(*arguments) for f in (network.forward, accelerate(network.forward)))
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-4 * float(abs(plain).max()))
    found = jconv.inspect(network.forward)(*arguments).convolutions
    assert len(found) == convolutions


def test_networks_are_chosen_by_name_and_kind():
    assert choose_networks("inception") == ["Inception v3", "Inception v3, merged"]
    assert choose_networks("network") == choose_networks("") and not choose_networks("depthwise")


def test_cases_slower_than_lax_are_told_and_which_may_be_noise():
    def row(name, ratio, high):
        return Row(name, "dense", "forward", {"jconv": 1.0, "lax": ratio}, {"lax": ratio},
                   {"lax": (0.5, high)}, {}, 1, 1)  # fmt: skip

    told = slower_line([row("noisy", 0.7, 1.1), row("slow", 0.8, 0.9), row("equal", 0.97, 0.98)])
    head, *cases = told.split("\n  ")
    assert "and than noise: 1 of 3; " in head and "within noise: 1" in head
    assert cases == ["slow, forward: 0.80x", "noisy, forward: 0.70x, within noise"]


def test_regret_is_told_with_the_worst():
    races = [race(p, budget=0.01) for p in problems_of(SMALL[0])]
    told = regret_line("layers", races)
    worst = max(races, key=lambda race: race.regret)
    assert f"{worst.regret:.2f} at worst ({worst.chosen} for {worst.fastest}" in told
