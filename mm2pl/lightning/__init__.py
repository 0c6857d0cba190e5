"""The bridge between MMEngine's world and Lightning's."""

from mm2pl.lightning.callbacks import RunCallback as RunCallback
from mm2pl.lightning.checkpoint_io import MMCheckpointIO as MMCheckpointIO
from mm2pl.lightning.datamodule import MMDataModule as MMDataModule
from mm2pl.lightning.evaluator_callback import EvaluatorCallback as EvaluatorCallback
from mm2pl.lightning.module import MMLightningModule as MMLightningModule
from mm2pl.lightning.optimizers import configure_optimizers as configure_optimizers
from mm2pl.lightning.prediction_writer import PredictionWriter as PredictionWriter
from mm2pl.lightning.profiler import NoProfiler as NoProfiler
from mm2pl.lightning.stop_before_nan import StopBeforeNaN as StopBeforeNaN
from mm2pl.plan.translate import translate as translate
