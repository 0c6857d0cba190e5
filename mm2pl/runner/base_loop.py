"""``mmengine.runner.base_loop``: what every loop derives from."""

from mm2pl.run.loops import BaseLoop as BaseLoop
