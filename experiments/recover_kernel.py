"""Recovery of a hidden kernel from photographs that it has filtered.

    python experiments/recover_kernel.py configs/recover_prewitt.yaml

One convolution with a random initial kernel is trained on pairs of a patch and its filtered
version. The mean squared error is a quadratic function of the kernel whose only minimum is the
hidden kernel, so gradient descent converges to it. The kernel is logged at every step, and the
run's page shows its history.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from jconv.report.page import write_page
from jconv.train import ConfigError, TrainConfig, load_config, run_name, train
from jconv.train.config import FilteredPhotos

TOLERANCE = 1e-3  # largest error of a tap; the hidden taps are of order one


def main() -> int:
    """Train, print both kernels, and return 0 if every tap is within the tolerance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a config with `data.kind: filtered_photos`")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs")
    parser.add_argument("--overwrite", action="store_true", help="replace a run of the same name")
    arguments = parser.parse_args()

    try:
        config = load_config(arguments.config, TrainConfig, name=run_name(arguments.config))
        if not isinstance(config.data, FilteredPhotos):
            raise ConfigError(
                f"{arguments.config}: data.kind: must be 'filtered_photos', which has a hidden "
                f"kernel. Received: {config.data.kind!r}."
            )
        run, summary = train(config, runs=arguments.runs, overwrite=arguments.overwrite)
    except ValueError as error:
        print(f"recover_kernel: {error}", file=sys.stderr)
        return 2
    page = write_page(run)

    with np.printoptions(precision=4, suppress=True, floatmode="fixed"):
        print(f"hidden kernel\n{np.load(run / 'target.npz')['kernel']}")
        print(f"learned kernel, after {summary['steps']} steps\n{last_kernel(run)}")
    print(f"largest difference {summary['kernel_error']:.1e}, allowed {TOLERANCE:.0e}")
    print(f"page {page}")
    if summary["status"] == "interrupted":
        return 130
    return 0 if summary["kernel_error"] <= TOLERANCE else 1


def last_kernel(run: Path) -> np.ndarray:
    """Return the kernel that the run logged last, (rows, columns)."""
    with np.load(max((run / "kernels").glob("*.npz"), key=lambda path: int(path.stem))) as kernels:
        (kernel,) = kernels.values()
    return kernel[..., 0, 0]


if __name__ == "__main__":
    sys.exit(main())
