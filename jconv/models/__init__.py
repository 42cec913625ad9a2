"""Networks, each a module that takes images `(n, h, w, c)`."""

from jconv.models.catalogue import PUBLISHED as PUBLISHED
from jconv.models.googlenet import googlenet as googlenet
from jconv.models.inception_resnet_v2 import inception_resnet_v2 as inception_resnet_v2
from jconv.models.inception_v3 import inception_v3 as inception_v3
from jconv.models.inception_v4 import inception_v4 as inception_v4
from jconv.models.metanext import convnext_tiny as convnext_tiny
from jconv.models.metanext import inception_next_tiny as inception_next_tiny
from jconv.models.mobile import efficientnet_lite0 as efficientnet_lite0
from jconv.models.mobile import mobilenet_v2 as mobilenet_v2
from jconv.models.network import Logits as Logits
from jconv.models.network import Network as Network
from jconv.models.parallel_net import ParallelNet as ParallelNet
from jconv.models.pixels import Pixels as Pixels
from jconv.models.repvgg import repvgg_a0 as repvgg_a0
from jconv.models.weights import WeightsError as WeightsError
from jconv.models.weights import load as load
from jconv.models.weights import save as save
from jconv.models.weights import to_torch as to_torch
from jconv.models.xception import xception as xception
