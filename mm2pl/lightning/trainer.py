"""The Trainer of a run, and how it is made from arguments that are plain data."""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage

from mm2pl.adverts import without_adverts
from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.checkpoint.marker import read_marker
from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.lightning.checkpoint_io import MMCheckpointIO
from mm2pl.lightning.epoch_loop import LeanEpochLoop
from mm2pl.lightning.evaluation_loop import LeanEvaluationLoop
from mm2pl.lightning.failures import OtherProcessFailed, is_echo, is_first_failure
from mm2pl.lightning.launch import copied
from mm2pl.lightning.private import has_writer
from mm2pl.lightning.progress_bar import with_progress_bar
from mm2pl.lightning.ranks import Ranks
from mm2pl.lightning.refused import refused_options, refused_run
from mm2pl.lightning.signals import StopTogether, handlers_of_a_run, session_goes_on
from mm2pl.run.environment import telling_children
from mm2pl.run.other_package import refuse_other_package
from mm2pl.run.trainer_view import run_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from mm2pl.run.run import Run


IN_EVAL_MODE = r"Found \d+ module\(s\) in eval mode at the start of training"
"""Lightning 2.6's warning at the start of a fit."""


class RunTrainer(Trainer):
    """A Trainer whose ``ckpt_path="last"`` is the run's newest checkpoint, and which returns the run's metrics.

    Lightning 2.6 looks for ``"last"`` in its own ``ModelCheckpoint`` only; ``"best"`` it asks of any ``Checkpoint``.
    Files are written and read by :class:`MMCheckpointIO`, unless ``plugins`` or the strategy bring a ``CheckpointIO``.
    """

    # With the signature of Lightning's own: LightningCLI makes the options from it.
    @functools.wraps(Trainer.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, plugins: Any = None, **kwargs: Any) -> None:
        # Lightning 2.6 refuses a second one, as if the user had named both.
        if not has_writer(kwargs.get("strategy")):
            plugins = _with_own_files(plugins)
        super().__init__(*args, plugins=plugins, **kwargs)

    @property
    def training(self) -> bool:
        """Return whether batches are being trained on; Lightning 2.6 asks thirteen times for each."""
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, value: bool) -> None:
        if value:
            self.state.stage = RunningStage.TRAINING
        elif self.training:
            self.state.stage = None

    def last_checkpoint(self) -> str:
        """Return the newest periodic checkpoint, of this process or of the one before; ``"last"`` if there is none."""
        newest = getattr(self.checkpoint_callback, "last_model_path", "")
        return newest or find_latest_checkpoint(self.default_root_dir) or "last"

    @property
    def run(self) -> Run | None:
        """The run that this Trainer carries, if there is one."""
        return run_of(self)

    def _mention_checkpoint(self, verb: str, run: Run) -> None:
        """Warn if weights that nobody has trained or loaded are about to be evaluated in place of those of a run."""
        newest, _ = read_marker(self.default_root_dir)
        state = run.continuing
        loads = state.has_loaded or state.load_from or state.resuming
        if not (run.training.has_trained or loads) and newest:
            run.logger.warning(
                f"{verb} without a checkpoint: this run has neither trained nor loaded weights → "
                f"--ckpt_path last, or load_from, takes {newest}"
            )

    def _prepare(self, verb: str) -> None:
        """Put the lean loops into the place of Lightning's; let several processes stop together."""
        if verb == "fit":
            epoch_loop = LeanEpochLoop.in_place_of(self.fit_loop.epoch_loop)
            epoch_loop.val_loop = LeanEvaluationLoop.in_place_of(epoch_loop.val_loop)
            self.fit_loop.epoch_loop = epoch_loop
            StopTogether.join(self)
        # At each call: a user may have put a loop in here since, and `in_place_of` leaves that alone.
        self.validate_loop = LeanEvaluationLoop.in_place_of(self.validate_loop)
        self.test_loop = LeanEvaluationLoop.in_place_of(self.test_loop)


def _with_own_files(plugins: Any) -> list[Any]:
    """Return a Trainer's plugins with :class:`MMCheckpointIO`, where the user has not named what writes.

    A plugin that hands files on to another, such as Lightning's ``AsyncCheckpointIO``, hands them on to ours.
    """
    # As Lightning 2.6 takes them: one, or anything that can be gone through.
    given = () if plugins is None else plugins
    listed = list(given) if isinstance(given, Iterable) else [given]
    writers: list[Any] = [each for each in listed if isinstance(each, CheckpointIO)]
    for writer in writers:
        if getattr(writer, "checkpoint_io", writer) is None:
            writer.checkpoint_io = MMCheckpointIO()
    return listed if writers else [*listed, MMCheckpointIO()]


def _for_a_run(verb: str) -> Any:
    base = getattr(Trainer, verb)
    signature = inspect.signature(base)

    # LightningCLI makes a command's options and its help from this method's signature and docstring.
    @functools.wraps(base)
    def call(self: RunTrainer, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        self._prepare(verb)
        if bound.arguments.get("ckpt_path") == "last":
            bound.arguments["ckpt_path"] = self.last_checkpoint()
        run = self.run
        if run is not None and verb != "fit" and bound.arguments.get("ckpt_path") is None:
            self._mention_checkpoint(verb, run)
        with Ranks(run, self) as ranks:
            try:
                with (
                    without_adverts(),
                    session_goes_on(),
                    handlers_of_a_run(self),
                    refused_run(self),
                    copied(run, self, verb),
                    ExitStack() as around,
                ):
                    if run is not None:
                        around.enter_context(telling_children(run.timestamp, run.seed))
                        if not run.module.follows_lightning:
                            # An earlier evaluation leaves eval mode; each epoch calls the model's `train()`.
                            warnings.filterwarnings("ignore", IN_EVAL_MODE)
                    for part in (run.module, run.datamodule) if run is not None else ():
                        if hasattr(part, "lent"):  # a module or data module of the user's own
                            around.enter_context(part.lent(self, verb))
                    result = base(*bound.args, **bound.kwargs)
            except Exception as error:
                if ranks.is_told(error) or (not is_first_failure(error) and is_echo(error)):
                    raise OtherProcessFailed(1) from error
                raise
        if verb not in ("validate", "test"):
            return result
        # A run's metrics reach the loggers through its visualizer, so Lightning has none to return.
        metrics = {name: value.item() for name, value in self.callback_metrics.items()}
        return [{**metrics, **logged} for logged in result]

    return call


for _verb in ("fit", "validate", "test", "predict"):
    setattr(RunTrainer, _verb, _for_a_run(_verb))


def instantiate(node: object) -> Any:
    """Build ``{"class_path": …, "init_args": {…}}``, as LightningCLI does; anything else is returned as it is."""
    if isinstance(node, list):
        return [instantiate(item) for item in node]
    if not (isinstance(node, dict) and "class_path" in node):
        return node
    cls = class_with_arguments(node)
    return cls(**{key: instantiate(value) for key, value in node.get("init_args", {}).items()})


def class_with_arguments(node: Mapping[str, Any]) -> type:
    """Return the class of ``{"class_path": …, "init_args": {…}}``, having seen that it takes these arguments.

    Raises:
        ArgumentError: It does not; the message names those it takes.
    """
    module, _, name = node["class_path"].rpartition(".")
    cls: type = getattr(importlib.import_module(module), name)
    given = node.get("init_args", {})
    takers = (cls, *getattr(cls, "hands_on_to", ()))
    parameters = [each for taker in takers for each in inspect.signature(taker).parameters.values()]
    if takers[1:] or all(each.kind is not each.VAR_KEYWORD for each in parameters):
        known = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
        for name in given:
            if name not in known:
                guess = did_you_mean(closest(name, known))
                raise ArgumentError(
                    f"{cls.__name__} has no argument {name!r} → one of {known}.{guess}"
                )
    return cls


class TrialTrainer(RunTrainer):
    """A Trainer whose run writes no checkpoint, and which does all else as in a run: loggers, hooks, length."""

    is_trial = True


def make_trainer(
    arguments: dict[str, Any], callback: Callback, kind: type[RunTrainer] = RunTrainer
) -> Trainer:
    """Build the Trainer of a run.

    Args:
        arguments: Trainer arguments in LightningCLI's form.
        callback: The run's own callback; it comes first.
        kind: Its class.

    Raises:
        RefusedByLightning: The Trainer refuses its options.
    """
    built = {name: instantiate(value) for name, value in arguments.items()}
    # Lightning moves every Checkpoint, and so this one, behind the others; among the Checkpoints it stays first.
    callbacks = [callback, *(built.pop("callbacks", None) or [])]
    refuse_other_package(*callbacks)
    bar = with_progress_bar(built.pop("enable_progress_bar", None), callbacks)
    with without_adverts(), refused_options(built):
        return kind(**built, **bar)
