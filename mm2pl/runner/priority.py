"""Where MMEngine keeps the priorities of hooks; they live in :mod:`mm2pl.hooks.priority`."""

from __future__ import annotations

from mm2pl.hooks.priority import Priority as Priority
from mm2pl.hooks.priority import get_priority as get_priority
