"""``mmengine.runner.base_loop``: what every loop derives from."""

from mm2pl.run.base_loop import BaseLoop as BaseLoop
