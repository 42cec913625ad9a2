"""Draw docs/learned_kernels.png: the kernels of the first block before and after training.

jconv train configs/digits.yaml && python docs/learned_kernels.py [runs/digits]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from jconv.analysis.kernel_images import colour_limit, kernel_image

LAYERS = {"blocks.0.branches.1.kernel": "3x3", "blocks.0.branches.2.kernel": "5x5"}


def main(run: Path) -> None:
    """Draw the kernels of a run folder."""
    files = sorted((run / "kernels").glob("*.npz"))
    shown = [files[i] for i in (0, len(files) // 6, -1)]
    figure, axes = plt.subplots(len(LAYERS), len(shown), figsize=(7.5, 4.6), layout="constrained")
    for row, (name, size) in zip(axes, LAYERS.items(), strict=True):
        kernels = [np.load(file)[name] for file in shown]
        limit = colour_limit(*kernels)
        for ax, kernel, file in zip(row, kernels, shown, strict=True):
            ax.imshow(kernel_image(kernel, limit=limit), interpolation="nearest")
            ax.set_title(f"{size}, step {int(file.stem):,}", fontsize=10)
            ax.axis("off")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits"))
