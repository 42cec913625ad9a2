"""Augmentation: what is done at random to the images of a step, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jconv.train.config import Augment
from jconv.train.losses import shares

Images = Float[Array, "n h w c"]
Key = Shaped[Array, "..."]


def augmented(
    images: Images, targets: Shaped[Array, "n ..."], how: Augment, classes: int, key: Key
) -> tuple[Images, Shaped[Array, "n ..."]]:
    """Images and targets as a step sees them.

    Args:
      images: of a batch.
      targets: of a batch.
      how: a section of the config.
      classes: outputs of the network, over which mixed targets are spread.
      key: draws what happens; the same key, the same images.
    """
    keys = jax.random.split(key, 4)
    images = shift(images, how.shift, keys[0])
    if how.flip:
        images = flip(images, keys[1])
    images = cutout(images, how.cutout, keys[2])
    if how.mixup:
        images, targets = mixup(images, shares(targets, classes), how.mixup, keys[3])
    return images, targets


def shift(images: Images, pixels: int, key: Key) -> Images:
    """Moves each image by up to `pixels` rows and columns at random; the edge is repeated."""
    if pixels == 0:
        return images
    padded = jnp.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="edge")
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)

    def cut(image, offset):
        return jax.lax.dynamic_slice(image, (*offset, 0), images.shape[1:])

    return jax.vmap(cut)(padded, offsets)


def flip(images: Images, key: Key) -> Images:
    """Exchanges left and right of each image, or not, as a coin falls."""
    turned = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(turned, images[:, :, ::-1], images)


def cutout(images: Images, side: int, key: Key) -> Images:
    """Makes a square zero whose centre is anywhere in the image: DeVries & Taylor (2017)."""
    if side == 0:
        return images
    n, *space, _ = images.shape
    centres = jax.random.randint(key, (n, 2), 0, jnp.array(space))
    inside = [
        (jnp.arange(size) >= first[:, None]) & (jnp.arange(size) < first[:, None] + side)
        for size, first in zip(space, (centres - side // 2).T, strict=True)
    ]
    square = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(square, 0, images)


def mixup(
    images: Images, targets: Float[Array, "n classes"], alpha: float, key: Key
) -> tuple[Images, Float[Array, "n classes"]]:
    """Mixes each image, and its share of each class, with those of another: Zhang et al. (2017).

    Args:
      images: of a batch.
      targets: the share of each class in each image.
      alpha: of the Beta distribution that the weight is drawn from.
      key: draws the weight, one for the batch, and who is mixed with whom.
    """
    weigh, order = jax.random.split(key)
    weight = jax.random.beta(weigh, alpha, alpha)
    others = jax.random.permutation(order, len(images))
    mix = lambda x: weight * x + (1 - weight) * x[others]
    return mix(images), mix(targets)
