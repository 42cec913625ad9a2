"""Folders of runs, written without training."""

import numpy as np

SHAPES = {
    "stem.kernel": (5, 5, 1, 16),
    "blocks.0.branches.0.kernel": (1, 1, 16, 16),
    "blocks.0.branches.1.kernel": (3, 3, 16, 24),
    "blocks.0.branches.2.kernel": (5, 5, 16, 8),
    "blocks.1.depthwise.kernel": (7, 7, 1, 48),
    "blocks.1.pointwise.kernel": (1, 1, 48, 64),
    "head.kernel": (64, 10),
}
CONFIG = """\
# jconv train configs/digits.yaml
model: {kind: inception, widths: {1: 16, 3: 24, 5: 8}}
train:
  steps: 1200
  learning_rate: 0.001
"""
ENVIRONMENT = {
    "jconv": "0.1.0",
    "jax": "0.10.2",
    "python": "3.11.9",
    "devices": ["TFRT_CPU_0"],
    "git_commit": None,
    "started": "2026-11-24T03:14:15+00:00",
    "command": "jconv train configs/digits.yaml",
}
SUMMARY = {
    "status": "finished",
    "steps": 1200,
    "seconds": 24.31,
    "parameters": 15_434,
    "test_accuracy": 0.98889,
    "test_loss": 0.04213,
    "test_images": 360,
    "validation_accuracy": 0.9791,
    "images_per_second": 3158.2,
    "train_images": 1257,
}

# Text that would be executed or interpreted if it were not escaped.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}&\ud800"


def write_kernels(folder, steps, shapes, rng):
    """Write kernels that change from noise to a smooth bump, fastest in the first steps."""
    (folder / "kernels").mkdir()
    start = {name: rng.normal(size=shape) * 0.08 for name, shape in shapes.items()}
    for step in steps:
        done = 1 - np.exp(-3 * step / max(*steps, 1))
        kernels = {name: kernel + done * bump(kernel) for name, kernel in start.items()}
        float32 = {name: kernel.astype("float32") for name, kernel in kernels.items()}
        np.savez(folder / "kernels" / f"{step:06}.npz", **float32)


def bump(kernel):
    """Return waves, mixed differently for each pair of channels."""
    *spatial, inputs, outputs = kernel.shape
    u, v = (np.linspace(-2, 2, size) for size in spatial or (1, 1))
    waves = np.stack([np.cos(u)[:, None] * np.sin(v), np.sin(u)[:, None] * np.cos(v)])
    turn = np.arange(inputs)[:, None] + 0.7 * np.arange(outputs)
    mixture = np.stack([np.cos(turn), np.sin(turn)])
    return 0.4 * np.einsum("khw,kio->hwio", waves + 0.2, mixture).reshape(kernel.shape)


def metric_lines(rng, steps=1200):
    """Yield the lines of metrics.jsonl."""
    for step in range(0, steps + 1, 10):
        done = np.exp(-step / 150)
        line = {"step": step, "loss": 2.2 * done + 0.03 * rng.uniform(0.5, 2)}
        line |= {"accuracy": 1 - 0.9 * done - 0.02 * rng.uniform(), "grad_norm": 3 * done + 0.1}
        line |= {"learning_rate": 1e-3 * (1 - step / (steps + 1)), "images_per_second": 3100.0}
        if step % 100 == 0:
            line |= {"validation_loss": 2.1 * done + 0.09}
            line |= {"validation_accuracy": 0.97 - 0.9 * done}
        yield line


def layer_rows():
    """Yield the rows of layers.json."""
    before = "input"
    for k, (name, shape) in enumerate(SHAPES.items()):
        size = int(np.prod(shape))
        yield {
            "name": name.removesuffix(".kernel"),
            "output_shape": [8, 8, shape[-1]] if len(shape) > 2 else [shape[-1]],
            "parameters": size + shape[-1],
            "multiply_adds": 64 * size,
            "receptive_field": [2 * k + 5, 2 * k + 5] if len(shape) > 2 else None,
            "connected_to": [before],
        }
        before = name.removesuffix(".kernel")
