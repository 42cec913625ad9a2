"""Networks, each a module that takes images `(n, h, w, c)`."""

from jconv.models.parallel_net import ParallelNet as ParallelNet
