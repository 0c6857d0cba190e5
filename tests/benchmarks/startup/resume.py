"""Go on from the newest checkpoint."""

from mm2pl.config import Config
from mm2pl.runner import Runner

config = Config.fromfile("config.py")
config.work_dir = "resumed"
config.resume = True
Runner.from_cfg(config).train()
