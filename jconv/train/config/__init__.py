"""The config of a run: every key of a YAML file with its type and default, declared once.

The key `kind` selects one of several section types.
"""

from jconv.train.config.data import Data as Data
from jconv.train.config.data import Digits as Digits
from jconv.train.config.data import FashionMnist as FashionMnist
from jconv.train.config.data import FilteredPhotos as FilteredPhotos
from jconv.train.config.data import HuggingFace as HuggingFace
from jconv.train.config.data import ImageFolder as ImageFolder
from jconv.train.config.data import Mnist as Mnist
from jconv.train.config.data import Npz as Npz
from jconv.train.config.data import Photos as Photos
from jconv.train.config.devices import Distributed as Distributed
from jconv.train.config.devices import Mesh as Mesh
from jconv.train.config.learning import Adam as Adam
from jconv.train.config.learning import AdamW as AdamW
from jconv.train.config.learning import Augment as Augment
from jconv.train.config.learning import Constant as Constant
from jconv.train.config.learning import Cosine as Cosine
from jconv.train.config.learning import EarlyStopping as EarlyStopping
from jconv.train.config.learning import Lamb as Lamb
from jconv.train.config.learning import Lion as Lion
from jconv.train.config.learning import Momentum as Momentum
from jconv.train.config.learning import OneCycle as OneCycle
from jconv.train.config.learning import Optimizer as Optimizer
from jconv.train.config.learning import Schedule as Schedule
from jconv.train.config.learning import Sgd as Sgd
from jconv.train.config.learning import StepDecay as StepDecay
from jconv.train.config.learning import WeightDecay as WeightDecay
from jconv.train.config.model import ConvModel as ConvModel
from jconv.train.config.model import Model as Model
from jconv.train.config.model import ParallelBlockModel as ParallelBlockModel
from jconv.train.config.model import ParallelNetModel as ParallelNetModel
from jconv.train.config.run import NetworkConfig as NetworkConfig
from jconv.train.config.run import TrainConfig as TrainConfig
