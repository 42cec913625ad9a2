"""Training: config -> data -> model -> step -> log -> report."""

from typing import TYPE_CHECKING

from jconv._core.lazy import attach

if TYPE_CHECKING:
    from jconv.train.config import NetworkConfig as NetworkConfig
    from jconv.train.config import TrainConfig as TrainConfig
    from jconv.train.config.loading import ConfigError as ConfigError
    from jconv.train.config.loading import load_config as load_config
    from jconv.train.config.loading import run_name as run_name
    from jconv.train.loop import RunFailed as RunFailed
    from jconv.train.loop import resume as resume
    from jconv.train.loop import train as train

# Loaded on first use, so that configs and reports do not need the libraries of training.
_DEFINED_IN = {
    "ConfigError": "jconv.train.config.loading",
    "NetworkConfig": "jconv.train.config",
    "RunFailed": "jconv.train.loop",
    "TrainConfig": "jconv.train.config",
    "load_config": "jconv.train.config.loading",
    "resume": "jconv.train.loop",
    "run_name": "jconv.train.config.loading",
    "train": "jconv.train.loop",
}

__all__ = [*_DEFINED_IN]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = attach(__name__, _DEFINED_IN)
