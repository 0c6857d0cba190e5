"""``mmengine.runner.priority``: the order of hooks."""

from mm2pl.run.priority import Priority as Priority
from mm2pl.run.priority import get_priority as get_priority
