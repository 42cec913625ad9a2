"""Speed of `lax` and jconv on images with fewer pixels than the kernel has taps.

Such images occur after several poolings.

    python experiments/small_images.py

`lax.conv_general_dilated` pads while it convolves; jconv's `"xla"` pads such images beforehand.
"""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jconv
from jconv.profiling.timing import paired_ratio, time_interleaved

# Images, their side, the kernel's side, channels in and out.
CASES = (
    (64, 4, 5, 32, 24),
    (180, 4, 5, 32, 24),
    (64, 6, 7, 16, 16),
    (12, 4, 5, 48, 160),
    (8, 2, 3, 512, 512),
    (180, 5, 5, 32, 24),  # as many pixels as taps
)


def main(budget: float = 3.0) -> None:
    """Print milliseconds of one call of each, and their ratio.

    Args:
      budget: seconds of measurement for each case.
    """
    rng = np.random.default_rng(0)
    for images, size, taps, inputs, outputs in CASES:
        x = jnp.asarray(rng.normal(size=(images, size, size, inputs)), jnp.float32)
        kernel = jnp.asarray(rng.normal(size=(taps, taps, inputs, outputs)), jnp.float32)
        by_lax = jax.jit(
            lambda x, kernel: jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )
        by_jconv = jax.jit(lambda x, kernel: jconv.conv(x, kernel, algorithm="xla"))
        calls = {
            "lax": lambda f=by_lax, x=x, kernel=kernel: f(x, kernel).block_until_ready(),
            "jconv": lambda f=by_jconv, x=x, kernel=kernel: f(x, kernel).block_until_ready(),
        }
        for call in calls.values():
            call()  # compiles
        times = time_interleaved(calls, budget=budget)
        milliseconds = {name: 1e3 * statistics.median(values) for name, values in times.items()}
        print(
            f"{images:>4} x {size}x{size}x{inputs} * {taps}x{taps} -> {outputs:<4} "
            f"lax {milliseconds['lax']:6.2f} ms, jconv {milliseconds['jconv']:6.2f} ms, "
            f"{paired_ratio(times['lax'], to=times['jconv']):.1f}x"
        )


if __name__ == "__main__":
    tyro.cli(main)
