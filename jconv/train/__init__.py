"""Training: config -> data -> model -> step -> log -> report."""

from jconv.train.config import NetworkConfig as NetworkConfig
from jconv.train.config import TrainConfig as TrainConfig
from jconv.train.config.loading import ConfigError as ConfigError
from jconv.train.config.loading import load_config as load_config
from jconv.train.config.loading import run_name as run_name
from jconv.train.loop import RunFailed as RunFailed
from jconv.train.loop import resume as resume
from jconv.train.loop import train as train
