"""Where MMEngine keeps the priorities of hooks; they live in :mod:`mm2pl.run.priority`."""

from __future__ import annotations

from mm2pl.run.priority import Priority as Priority
from mm2pl.run.priority import get_priority as get_priority
