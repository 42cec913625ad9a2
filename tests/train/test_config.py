"""Errors of config files: all problems at once, each with key, allowed and received values."""

import pytest
import yaml

from jconv.train import ConfigError, NetworkConfig, TrainConfig, load_config

GOOD = {"data": {"kind": "digits"}, "model": {"kind": "parallel_net"}, "steps": 5}


def load_error(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ConfigError) as error:
        load_config(path, TrainConfig)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"stepz": 5}, "stepz: unknown key. Did you mean `steps`? Allowed: ['name',"),
        ({"optimizer": {"kind": "adam", "learning_rat": 1}},
         "optimizer.learning_rat: unknown key. Did you mean `learning_rate`?"),
        ({"optimizer": {"kind": "adamm"}},
         "optimizer.kind: must be one of ['sgd', 'momentum', 'adam', 'adamw', 'lion', 'lamb']. "
         "Did you mean `adam`? Received: 'adamm'."),
        ({"optimizer": {"learning_rate": 1}}, "optimizer: needs a `kind`, one of ['sgd',"),
        ({"optimizer": "adam"}, "optimizer: must be a valid dictionary"),
        ({"optimizer": {"kind": "adam", "learning_rate": -1}},
         "optimizer.learning_rate: must be greater than 0. Received: -1."),
        ({"optimizer": {"kind": "adam", "learning_rate": "fast"}},
         "optimizer.learning_rate: must be a valid number"),
        ({"optimizer": {"kind": "adam", "learning_rate": float("inf")}},
         "optimizer.learning_rate: must be a finite number"),
        ({"optimizer": {"kind": "adam", "b1": 1}}, "optimizer.b1: must be less than 1"),
        ({"steps": 0}, "steps: must be greater than or equal to 1. Received: 0."),
        ({"steps": 2.5}, "steps: must be a valid integer"),
        ({"steps": True}, "steps: must be a number. Received: True."),
        ({"steps": None}, "steps: must be a valid integer"),
        ({"seed": -1}, "seed: must be greater than or equal to 0"),
        ({"loss": "cross_entropi"},
         "loss: must be 'cross_entropy', 'mse' or 'binary'. Did you mean `cross_entropy`?"),
        ({"name": "../../etc"}, "name: String should match pattern"),
        ({"model": {"kind": "parallel_net", "blocks": []}}, "model.blocks: Tuple should have"),
        ({"model": {"kind": "parallel_net", "blocks": [{3: 0}]}},
         "1 problem\n  model.blocks[0][3]: must be greater than or equal to 1. Received: 0."),
        ({"model": {"kind": "parallel_net", "blocks": [{"three": 4}]}},
         "model.blocks[0].three (as a key): must be a valid integer"),
        ({"model": {"kind": "parallel_net", "algorithm": "xlaa"}},
         "model.algorithm: must be 'auto', 'xla', 'direct', 'im2col', 'winograd', 'fft', "
         "'overlap_add', 'phases' or 'split'. Did you mean `xla`?"),
        ({"model": {"kind": "conv"}}, "`model.kind` must be 'parallel_net' if `data.kind`"),
        ({"data": {"kind": "filtered_photos", "kernel": "gaussian"}, "model": {"kind": "conv"},
          "augment": {"shift": 1}}, "`loss` must be 'mse' if `data.kind` is 'filtered_photos'.\n"
         "  `augment` must be omitted if `data.kind` is 'filtered_photos'.\n"
         "  `model.kernel_size` must be [5, 5], the size of `data.kernel` 'gaussian'."),
        ({"steps": 10**20}, "steps: must be less than or equal to 1000000000"),
        ({"augment": {"shift": 10**9}}, "augment.shift: must be less than or equal to 64"),
        ({"data": {"kind": "digits", "test": 1e-9}}, "data.test: must be greater than or equal"),
        ({"data": {"kind": "filtered_photos", "kernel": "sobell"}, "loss": "mse"},
         "data.kernel: must be 'prewitt'"),
        ({"schedule": {"kind": "cosine", "warmup_steps": 5}}, "`schedule.warmup_steps` must be"),
        ({"steps": 5, "accumulate": 2}, "`steps` must be a multiple of `accumulate`"),
        ({"steps": 4, "accumulate": 2, "schedule": {"kind": "constant", "warmup_steps": 2}},
         "`schedule.warmup_steps` must be 0 or greater than `accumulate`"),
        ({"log": {"every": 0}}, "log.every: must be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_invalid_value_is_reported_with_its_key_and_the_allowed_values(change, expected, tmp_path):
    text = load_error(tmp_path, GOOD | change)
    assert expected in text
    assert "pydantic" not in text and "Traceback" not in text


@pytest.mark.parametrize(
    "section, old, new",
    [
        ({"early_stopping": {"patience": 2, "least": 0.1}}, "early_stopping.least", "min_delta"),
        ({"schedule": {"kind": "one_cycle", "rise": 0.5}}, "schedule.rise", "pct_start"),
        ({"optimizer": {"kind": "lamb", "decays": "all"}}, "optimizer.decays", "weight_decay_on"),
        ({"data": {"kind": "npz", "path": "x", "classes": 3}}, "data.classes", "num_classes"),
    ],
)
def test_former_key_is_reported_with_its_new_name(section, old, new, tmp_path):
    text = load_error(tmp_path, GOOD | section)
    assert f"1 problem\n  {old}: has been renamed to `{new}`. Received: " in text


def test_all_problems_are_reported_at_once(tmp_path):
    content = {
        "data": {"kind": "digits", "tset": 0.2},
        "model": {"kind": "parallel_net", "dropout": 2},
        "optimizer": {"kind": "sgd", "momentum": "high"},
        "batchsize": 3,
    }
    text = load_error(tmp_path, content)
    assert "5 problems" in text
    for part in ("data.tset: unknown key. Did you mean `test`?", "model.dropout: must be less",
                 "optimizer.momentum: must be a valid number", "steps: missing",
                 "batchsize: unknown key. Did you mean `batch_size`?"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "must hold keys and values"),
        ("just words", "must hold keys and values"),
        ("a: [1, 2\nb: 3", "not valid YAML: expected ',' or ']'"),
        ("steps: 1\nsteps: 2\n", "duplicate key 'steps' (line 2, column 1)"),
        ("? [a, b]\n: 1\n", "a key must be a string or a number"),
        (
            "steps: !!python/object/apply:os.system ['true']\n",
            "not valid YAML: could not",
        ),
        ("\tsteps: 1", "not valid YAML"),
        ("a: &x [*x]", "a: unknown key"),
        ("[" * 5000, "cannot be parsed"),
        ("name: 2024-13-45", "cannot be parsed"),
        ("a: &a [1]\nname: [" + "*a, " * 30 + "]", "more than 20 aliases"),
    ],
)
def test_text_that_is_not_a_config(content, expected, tmp_path):
    assert expected in load_error(tmp_path, content)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nothing.yaml", TrainConfig)
    (tmp_path / "digits.yaml").write_text("steps: 1")
    with pytest.raises(ConfigError, match=r"Did you mean .*digits\.yaml\?"):
        load_config(tmp_path / "digit.yaml", TrainConfig)
    with pytest.raises(ConfigError, match="The folder .*missing does not exist"):
        load_config(tmp_path / "missing" / "digits.yaml", TrainConfig)
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path, TrainConfig)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is not a text file in UTF-8"):
        load_config(tmp_path / "binary.yaml", TrainConfig)


def test_number_without_decimal_point_in_scientific_notation(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {kind: digits}\nmodel: {kind: parallel_net}\nsteps: 5\n"
        "optimizer: {kind: adam, learning_rate: 1e-3}\n"
    )
    assert load_config(path, TrainConfig).optimizer.learning_rate == 1e-3


def test_yaml_anchors_and_merge_keys(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {kind: digits}\nsteps: 5\n"
        "model: {kind: parallel_net, blocks: [&small {1: 2, 3: 4}, {<<: *small, 5: 6}]}\n"
    )
    blocks = load_config(path, TrainConfig).model.blocks
    assert blocks == ({1: 2, 3: 4}, {1: 2, 3: 4, 5: 6})


def test_schema_with_the_most_required_keys_is_selected(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("input_shape: [8, 8, 3]\nmodel: {kind: parallel_block}\n")
    assert isinstance(load_config(path, TrainConfig, NetworkConfig), NetworkConfig)
    path.write_text(yaml.safe_dump(GOOD))
    assert isinstance(load_config(path, TrainConfig, NetworkConfig), TrainConfig)
    path.write_text("input_shape: [8, 8]\nmodel: {kind: parallel_block}\n")
    with pytest.raises(ConfigError, match="input_shape"):
        load_config(path, TrainConfig, NetworkConfig)
