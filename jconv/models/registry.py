"""The published networks by name, with their image sizes and weight formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jconv.models.convnext import (
    CONVNEXT_FORMATS,
    INCEPTION_NEXT_FORMATS,
    convnext_tiny,
    inception_next_tiny,
)
from jconv.models.googlenet import FORMATS as GOOGLENET
from jconv.models.googlenet import googlenet
from jconv.models.inception_resnet_v2 import FORMATS as INCEPTION_RESNET_V2
from jconv.models.inception_resnet_v2 import inception_resnet_v2
from jconv.models.inception_v3 import FORMATS as INCEPTION_V3
from jconv.models.inception_v3 import inception_v3
from jconv.models.inception_v4 import FORMATS as INCEPTION_V4
from jconv.models.inception_v4 import inception_v4
from jconv.models.mobilenet import (
    EFFICIENTNET_LITE0_FORMATS,
    MOBILENET_V2_FORMATS,
    efficientnet_lite0,
    mobilenet_v2,
)
from jconv.models.network import Network
from jconv.models.repvgg import FORMATS as REPVGG
from jconv.models.repvgg import repvgg_a0
from jconv.models.weight_formats import WeightFormat
from jconv.models.xception import FORMATS as XCEPTION
from jconv.models.xception import xception


@dataclass(frozen=True)
class PublishedNetwork:
    """Entry of a published network in `PUBLISHED`.

    Attributes:
      make: function that builds the network.
      size: rows and columns of the images that it was published for.
      formats: weight formats that `jconv.models.load` accepts.
    """

    make: Callable[..., Network]
    size: int
    formats: tuple[WeightFormat, ...]


PUBLISHED = {
    "googlenet": PublishedNetwork(googlenet, 224, GOOGLENET),
    "inception_v3": PublishedNetwork(inception_v3, 299, INCEPTION_V3),
    "inception_v4": PublishedNetwork(inception_v4, 299, INCEPTION_V4),
    "inception_resnet_v2": PublishedNetwork(inception_resnet_v2, 299, INCEPTION_RESNET_V2),
    "xception": PublishedNetwork(xception, 299, XCEPTION),
    "inception_next_tiny": PublishedNetwork(inception_next_tiny, 224, INCEPTION_NEXT_FORMATS),
    "mobilenet_v2": PublishedNetwork(mobilenet_v2, 224, MOBILENET_V2_FORMATS),
    "efficientnet_lite0": PublishedNetwork(efficientnet_lite0, 224, EFFICIENTNET_LITE0_FORMATS),
    "convnext_tiny": PublishedNetwork(convnext_tiny, 224, CONVNEXT_FORMATS),
    "repvgg_a0": PublishedNetwork(repvgg_a0, 224, REPVGG),
}
