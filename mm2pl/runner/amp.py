"""``mmengine.runner.amp``: the context of mixed precision."""

from mm2pl.optim.optimizer.autocast import autocast as autocast
