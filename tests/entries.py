"""The algorithms that tests go through, by name."""

import jconv

# `separable` is exact for kernels of the rank asked for: here, of any.
EXACT = {**jconv.ALGORITHMS, "separable": jconv.Separable(rank=64)}
ENTRIES = {**EXACT, "auto": "auto"}
# Small blocks, so that small cases need many of them.
VARIANTS = {
    "im2col-blocks": jconv.Im2col(workspace=256),
    "winograd-f2-blocks": jconv.Winograd(tile=2, block=512),
    "fft-blocks": jconv.FFT(block=512),
    "overlap_add-blocks": jconv.OverlapAdd(length=4, block=512),
    "phases-of-direct": jconv.Phases(jconv.Direct()),
    "split-loops": jconv.Split(unroll=1),
    "direct-loops": jconv.Direct(unroll=2),
}
