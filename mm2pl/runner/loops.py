"""The loops of ``mmengine.runner.loops``, under MMEngine's import path."""

from mm2pl.run.base_loop import BaseLoop as BaseLoop
from mm2pl.run.eval_loops import TestLoop as TestLoop
from mm2pl.run.eval_loops import ValLoop as ValLoop
from mm2pl.run.loops import EpochBasedTrainLoop as EpochBasedTrainLoop
from mm2pl.run.loops import IterBasedTrainLoop as IterBasedTrainLoop
from mm2pl.run.loops import _InfiniteDataloaderIterator as _InfiniteDataloaderIterator
from mm2pl.run.loops import calc_dynamic_intervals as calc_dynamic_intervals
