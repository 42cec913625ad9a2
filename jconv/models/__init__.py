"""Image classifiers, each a module that takes images `(n, h, w, c)`, and their weights."""

from jconv.models.convnext import convnext_tiny as convnext_tiny
from jconv.models.convnext import inception_next_tiny as inception_next_tiny
from jconv.models.googlenet import googlenet as googlenet
from jconv.models.inception_resnet_v2 import inception_resnet_v2 as inception_resnet_v2
from jconv.models.inception_v3 import inception_v3 as inception_v3
from jconv.models.inception_v4 import inception_v4 as inception_v4
from jconv.models.mobilenet import efficientnet_lite0 as efficientnet_lite0
from jconv.models.mobilenet import mobilenet_v2 as mobilenet_v2
from jconv.models.network import Logits as Logits
from jconv.models.network import Network as Network
from jconv.models.parallel_net import ParallelNet as ParallelNet
from jconv.models.preprocessing import Preprocessing as Preprocessing
from jconv.models.registry import PUBLISHED as PUBLISHED
from jconv.models.repvgg import repvgg_a0 as repvgg_a0
from jconv.models.weight_io import load as load
from jconv.models.weight_io import save as save
from jconv.models.weight_io import to_torch as to_torch
from jconv.models.weight_sources import WeightsError as WeightsError
from jconv.models.xception import xception as xception
