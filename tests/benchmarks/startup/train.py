"""Train as a config says."""

from mm2pl.config import Config
from mm2pl.runner import Runner

Runner.from_cfg(Config.fromfile("config.py")).train()
