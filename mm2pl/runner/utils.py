"""``mmengine.runner.utils``: seeds, and intervals of validation."""

from mm2pl.run.environment import set_random_seed as set_random_seed
from mm2pl.run.loops import calc_dynamic_intervals as calc_dynamic_intervals
