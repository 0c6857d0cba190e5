"""``mmengine.runner.base_loop``: what every loop derives from."""

from mm2pl.runner.loops import BaseLoop as BaseLoop
