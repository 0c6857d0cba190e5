"""Train one epoch, for a checkpoint to resume from."""

from mm2pl.config import Config
from mm2pl.runner import Runner

config = Config.fromfile("config.py")
config.custom_hooks = []
config.train_cfg.max_epochs = 1
config.work_dir = "resumed"
Runner.from_cfg(config).train()
