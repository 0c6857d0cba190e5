"""Whether a run will reach its end, told before it starts; ``mm2pl check`` and ``Runner.check``."""

from mm2pl.check.check import check_config as check_config
from mm2pl.check.check import check_runner as check_runner
from mm2pl.check.report import Report as Report
from mm2pl.check.twin import in_folder as in_folder
