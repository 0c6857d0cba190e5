"""The one door to Lightning's inside: what Lightning 2.6 keeps behind an underscore, under a public name.

Nothing else in mm2pl imports, reads, writes or overrides a private name of Lightning (``tests/lightning/test_private``
holds that). A new version of Lightning is looked at here: :func:`self_test` says what it lacks. Where something is
missing, a run goes on with Lightning's own loops, after one warning; what has no such way out raises the same message.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden

from mm2pl.errors import ArgumentError, UnsupportedVersion

if TYPE_CHECKING:
    from types import FrameType

    from lightning.fabric.utilities.types import Steppable
    from lightning.pytorch import Trainer
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
    from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
    from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
    from lightning.pytorch.loops.fit_loop import _FitLoop
    from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
    from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector
    from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
    from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

    DataFetcher = _DataFetcher

KNOWN = ("2.6.",)
"""Beginnings of the versions whose loops the lean ones were compared with, call by call."""

REQUIREMENT = "lightning>=2.6.0,!=2.6.2,!=2.6.3,<2.7"
"""The same for pip, as in ``pyproject.toml``."""

CLASSES = (
    "lightning.pytorch.loops.fit_loop._FitLoop",
    "lightning.pytorch.loops.training_epoch_loop._TrainingEpochLoop",
    "lightning.pytorch.loops.evaluation_loop._EvaluationLoop",
    "lightning.pytorch.loops.fetchers._DataLoaderIterDataFetcher",
    "lightning.pytorch.trainer.connectors.signal_connector._SignalConnector",
)
"""The private classes that this file derives from or asks for."""

NEEDED: dict[str, str] = {
    "Trainer": "_logger_connector _signal_connector _data_connector",
    "Trainer._logger_connector": "_first_loop_iter on_batch_start on_batch_end update_train_step_metrics"
    " update_eval_step_metrics _callback_metrics _progress_bar_metrics",
    "Trainer._data_connector": "_prepare_dataloader",
    "Trainer._signal_connector": "_sigterm_notifier_fn register_signal_handlers received_sigterm teardown",
    "Trainer.fit_loop": "_should_accumulate _combined_loader_states_to_load _load_combined_loader_states"
    " _data_fetcher _combined_loader _restarting _can_stop_early",
    "Trainer.fit_loop.epoch_loop": "_results _batches_that_stepped _skip_next_val",
    "Trainer.fit_loop.epoch_loop.manual_optimization": "on_run_start on_run_end output_result_cls",
    "Trainer.validate_loop": "_combined_loader _results _has_run _seen_batches_per_dataloader _data_fetcher _trainer_fn"
    " _stage _evaluation_step _max_batches _module_mode _on_evaluation_model_eval _on_evaluation_model_train",
    "LightningModule": "_trainer _current_fx_name _call_batch_hook",
    "Precision": "_after_closure",
    "DDPStrategy": "_process_group_backend",
    "ModelParallelStrategy": "_data_parallel_size _process_group_backend",
    "TQDMProgressBar": "_should_update _train_progress_bar _val_progress_bar _test_progress_bar _predict_progress_bar",
}
"""Where in Lightning → the names that this file, and the subclasses of its classes, use there.

``TensorBoardLogger._experiment`` is not among them: without the package ``tensorboard`` there is no logger to look at.
"""


class Missing:
    """Base of the empty classes that stand for private ones which a version lacks.

    No loop is of such a type, so all of them stay, as a user's own do.
    """


def _private_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return type(name, (Missing,), {})


if not TYPE_CHECKING:
    _FitLoop, _TrainingEpochLoop, _EvaluationLoop, _DataLoaderIterDataFetcher, _SignalConnector = (
        map(_private_class, CLASSES)
    )


# Does the installed version have it all?


def self_test(trainer: Trainer) -> list[str]:
    """Return what the installed Lightning lacks of what is used here; ``[]`` if nothing.

    Args:
        trainer: Looked at, not changed; most names are attributes that only exist in a built Trainer.
    """
    lacking = [path for path in CLASSES if issubclass(_private_class(path), Missing)]
    roots: dict[str, Any] = {
        "Trainer": trainer,
        "LightningModule": LightningModule(),
        "Precision": Precision,
        "DDPStrategy": DDPStrategy(),
        "ModelParallelStrategy": ModelParallelStrategy(),
        "TQDMProgressBar": TQDMProgressBar(),
    }
    for path, names in NEEDED.items():
        root, _, rest = path.partition(".")
        try:
            owner = attrgetter(rest)(roots[root]) if rest else roots[root]
        except AttributeError:
            lacking.append(path)
            continue
        lacking += [f"{path}.{name}" for name in names.split() if not hasattr(owner, name)]
    return list(dict.fromkeys(lacking))  # what is missing is both a name and the way to others


def is_known(trainer: Trainer) -> bool:
    """Return whether the lean loops may stand in the place of Lightning's; warn once if not."""
    lacking = self_test(trainer)
    if not lacking and lightning.__version__.startswith(KNOWN):
        return True
    # Python shows a warning once per line; this level is the line here, whichever of the loops asks.
    rank_zero_warn(
        f"{unsupported(lacking)}. Until then Lightning's own loops run, which do the same more slowly",
        stacklevel=3,
    )
    return False


def unsupported(lacking: list[str]) -> UnsupportedVersion:
    """Return the one message: what was found, which versions are known to work, what to do."""
    found = (
        f"without {', '.join(lacking)}"
        if lacking
        else "whose loops mm2pl has not been compared with"
    )
    return UnsupportedVersion(f"lightning {lightning.__version__}", found, REQUIREMENT)


def _inside(owner: object, name: str) -> Any:
    """Return a private attribute for which there is no way out.

    Raises:
        UnsupportedVersion: This version of Lightning has none.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise unsupported([f"{type(owner).__name__}.{name}"]) from error


# Loops


class FitLoop(_FitLoop):
    """Lightning's loop over the epochs of a fit, for a subclass in which a user's loop goes through them."""

    @classmethod
    def in_place_of(cls, loop: _FitLoop) -> Any:
        """Return a loop that stands where ``loop`` does.

        Raises:
            TypeError: A loop of the user's own stands there.
            UnsupportedVersion: This version of Lightning has other loops.
        """
        return loop if isinstance(loop, cls) else _stand_in(cls, loop, _FitLoop)

    @contextmanager
    def driven(self, loader: Any, length: int | float) -> Iterator[None]:
        """Do what ``_FitLoop.run`` does around its epochs; the batches are taken elsewhere."""
        self._begin(loader, length)
        manual = self.epoch_loop.manual_optimization
        manual.on_run_start()
        try:
            yield
        finally:
            manual.on_run_end()

    def _begin(self, loader: Any, length: int | float) -> None:
        torch.set_grad_enabled(True)
        self._combined_loader = CombinedLoader(loader, "max_size_cycle")
        self.max_batches = length
        for loop in (self, self.epoch_loop, self.epoch_loop.val_loop):
            # The counters have been restored, and what a driven loop makes up for it knows itself.
            loop._restarting = False
            loop.reset_restart_stage()
        epochs: Any = self.epoch_progress.current
        epochs.completed = epochs.processed

    @property
    def is_to_end(self) -> bool:
        """Return whether a callback or ``max_steps`` has ended the fit."""
        epochs = self.epoch_loop
        limited = epochs.max_steps is not None and epochs.max_steps >= 0
        over = limited and epochs.global_step >= epochs.max_steps
        return over or (self.trainer.should_stop and self._can_stop_early)

    def end_epoch(self) -> None:
        """Do what ``_FitLoop.on_advance_end`` does around the callbacks' ``on_train_epoch_end``."""
        connector: Any = self.trainer._logger_connector
        connector.on_epoch_end()
        self.epoch_loop._batches_that_stepped -= 1
        connector.update_train_epoch_metrics()
        self.epoch_loop._batches_that_stepped += 1

    def count_step(self) -> None:
        """Count a batch for ``log_every_n_steps``."""
        self.epoch_loop._batches_that_stepped += 1


def _stand_in(cls: Any, loop: Any, own: type) -> Any:
    if lacking := self_test(loop.trainer):
        raise unsupported(lacking)
    if type(loop) is not own and not isinstance(loop, EvaluationLoop):
        raise ArgumentError(
            f"{type(loop).__name__} stands in the Trainer's place of a loop that a config's own loop takes → leave one "
            "of the two out"
        )
    made = cls.__new__(cls)
    # Not through Lightning's setters, which look for inner loops.
    vars(made).update(vars(loop))
    return made


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, to be replaced by a subclass that takes fewer steps."""

    @classmethod
    def in_place_of(cls, loop: _TrainingEpochLoop) -> Any:
        """Return a loop that does what ``loop`` does; ``loop`` itself if it is not Lightning's own and known."""
        if type(loop) is not _TrainingEpochLoop or not is_known(loop.trainer):
            return loop
        lean = cls(loop.trainer, loop.min_steps, loop.max_steps)
        lean.val_loop = loop.val_loop
        return lean

    # An attrgetter, unlike a method, costs no Python call per batch.
    skips_validation = property(
        attrgetter("_skip_next_val"),
        doc="Whether the validation that is due was made before the restart.",
    )

    def count_step(self) -> None:
        """Count a batch for ``log_every_n_steps``, as ``_TrainingEpochLoop.on_advance_end`` does."""
        self._batches_that_stepped += 1


class EvaluationLoop(_EvaluationLoop):
    """Lightning's loop over the batches of a validation or test, to be replaced by one that takes fewer steps."""

    lean = False
    """Whether :meth:`evaluate` stands in the place of ``_EvaluationLoop._evaluation_step``."""

    @classmethod
    def in_place_of(cls, loop: _EvaluationLoop) -> Any:
        """Return a loop that does what ``loop`` does; ``loop`` itself if it is not Lightning's own and known."""
        if type(loop) is not _EvaluationLoop or not is_known(loop.trainer):
            return loop
        return cls(loop.trainer, loop._trainer_fn, loop._stage, loop.verbose, loop.inference_mode)

    @classmethod
    def driven_in_place_of(cls, loop: _EvaluationLoop) -> Any:
        """Return a loop that stands where ``loop`` does, and which a user's loop goes through.

        Raises:
            TypeError: A loop of the user's own stands there.
            UnsupportedVersion: This version of Lightning has other loops.
        """
        return loop if isinstance(loop, cls) else _stand_in(cls, loop, _EvaluationLoop)

    def expect(self, batches: list[int | float]) -> None:
        """Let progress bars know how many batches each loader has."""
        self._max_batches = batches
        self.batch_progress.reset_on_run()

    def keep_modes(self, module: LightningModule) -> Callable[[], None]:
        """Note which parts of a module are in training mode; return what puts them back."""
        self._module_mode.capture(module)
        return lambda: self._module_mode.restore(module)

    def modes_kept(self) -> AbstractContextManager[None]:
        """Return what Lightning changes the modes of the module in: eval at the start, and back at the end."""
        raise NotImplementedError

    def _on_evaluation_model_eval(self) -> None:
        with self.modes_kept():
            super()._on_evaluation_model_eval()

    def _on_evaluation_model_train(self) -> None:
        with self.modes_kept():
            super()._on_evaluation_model_train()

    fetcher = property(attrgetter("_data_fetcher"), doc="What the batches come from, in a run.")

    def evaluate(self, batch: object, batch_idx: int) -> None:
        """Evaluate one batch."""
        raise NotImplementedError

    def _evaluation_step(self, batch: object, batch_idx: int, *rest: Any) -> None:
        if self.lean:
            self.evaluate(batch, batch_idx)
        else:
            super()._evaluation_step(batch, batch_idx, *rest)

    def count_batch(self, connector: _LoggerConnector, logged: _ResultCollection) -> None:
        """Note that a batch of the only loader is over, and hand on what ``self.log`` has got."""
        self._has_run = True
        seen = self._seen_batches_per_dataloader
        if logged:
            connector.update_eval_step_metrics(seen[0])
        seen[0] += 1


def take_loaders_again(loop: Any) -> None:
    """Let a fit or an evaluation ask for its loaders, and for how many batches they have, before its first batch.

    Lightning has done so before the hooks were called with which it begins.
    """
    _inside(loop, "_combined_loader")
    loop._combined_loader = None
    loop.setup_data()
    if isinstance(loop, _EvaluationLoop):
        # `reset`, which is over, has made the fetcher.
        loop._combined_loader.limits = loop.max_batches
        fetcher: Any = loop._data_fetcher
        fetcher.setup(loop._combined_loader)
        iter(fetcher)


def hands_out_iterator(fetcher: object) -> bool:
    """Return whether a step gets the loader's iterator, ``training_step(dataloader_iter)``, and not batches."""
    return isinstance(fetcher, _DataLoaderIterDataFetcher)


def has_gradients_waiting(trainer: Trainer) -> bool:
    """Return whether automatic optimization has gradients that wait for further batches."""
    return _inside(trainer.fit_loop, "_should_accumulate")()


def start_method(trainer: Trainer) -> str:
    """Return how Lightning makes the other processes out of this one (``fork``, ``spawn``); ``""``: it does not."""
    return getattr(trainer.strategy.launcher, "_start_method", "")


def batches_that_stepped(trainer: Trainer) -> int:
    """Return the batches after which the optimizer has stepped: what ``log_every_n_steps`` counts."""
    return _inside(trainer.fit_loop.epoch_loop, "_batches_that_stepped")


def resume_loaders(trainer: Trainer) -> None:
    """Let loaders that keep their place go on at that of the checkpoint.

    Lightning 2.6 tells them when it looks at them first. For the length of an epoch they had to be looked at before the
    checkpoint was read, as ``trainer.estimated_stepping_batches`` looks too.
    """
    loop: Any = trainer.fit_loop
    if _inside(loop, "_combined_loader_states_to_load"):
        loop._load_combined_loader_states()
        iter(loop._data_fetcher)


def dealt_out(trainer: Trainer, loader: object, training: bool, seed: int) -> Any:
    """Return a loader that deals this process its share, as Lightning makes one of a plain ``DataLoader``."""
    prepare = _inside(_inside(trainer, "_data_connector"), "_prepare_dataloader")
    stage = RunningStage.TRAINING if training else RunningStage.VALIDATING
    dealt = prepare(loader, shuffle=training, mode=stage)
    if dealt is not loader and hasattr(dealt.sampler, "seed"):
        # Lightning 2.6 reads it from a variable that only its `seed_everything` writes.
        dealt.sampler.seed = seed
    return dealt


# What self.log writes to


def logged_values(loop: _TrainingEpochLoop | _EvaluationLoop) -> Any:
    """Return where a loop keeps the values of ``self.log``; one object for the loop's life, false while empty."""
    return loop._results


def names_logged_in(loop: _TrainingEpochLoop | _EvaluationLoop, stage: str) -> set[str]:
    """Return what has been logged in a method of the module since the epoch began."""
    metas = [value.meta for value in logged_values(loop).values()]
    return {meta.name for meta in metas if meta.fx == stage}


def forget_logged(loop: _TrainingEpochLoop, stage: str, names: Iterable[str]) -> None:
    """Forget what ``self.log`` got under these names in a method of the module."""
    logged = logged_values(loop)
    for name in names:
        logged[f"{stage}.{name}"].reset()


def show_to_callbacks(trainer: Trainer, values: dict[str, torch.Tensor]) -> None:
    """Put values into ``trainer.callback_metrics``, which itself would first compute all that ``self.log`` has got."""
    _inside(trainer, "_logger_connector")._callback_metrics.update(values)


def show_to_bar(trainer: Trainer, values: dict[str, float]) -> None:
    """Put values into ``trainer.progress_bar_metrics`` likewise."""
    _inside(trainer, "_logger_connector")._progress_bar_metrics.update(values)


def logger_connector(trainer: Trainer) -> Any:
    """Return what makes metrics of these values, ``Trainer._logger_connector``."""
    return trainer._logger_connector


def begin_batch(connector: _LoggerConnector, logged: _ResultCollection, batch: object) -> None:
    """Do what the connector's ``on_batch_start`` does, which looks for the active loop first."""
    # None between epochs, True in the first batch of one, then False.
    connector._first_loop_iter = connector._first_loop_iter is None
    logged.batch, logged.batch_size, logged.dataloader_idx = batch, None, None


# The module

CURRENT_HOOK = "_current_fx_name"
"""Attribute of a LightningModule: the hook that runs, which ``self.log`` checks. Written through ``vars(module)``."""


class LeanModule(LightningModule):
    """A LightningModule in which Lightning's own bookkeeping costs little."""

    batches_stay_raw = False
    """Whether nobody moves or changes a batch between the loader and the step."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning 2.6 sets this name some thirty times per iteration; through nn.Module each costs a microsecond.
        if name == CURRENT_HOOK:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _call_batch_hook(self, hook_name: str, batch: object, *args: Any) -> Any:
        # Lightning 2.6 looks up three such hooks per batch, in the module and in the data module.
        if self.batches_stay_raw:
            return batch
        datamodule: Any = getattr(trainer_of(self), "datamodule", None)
        moves = hook_name == "transfer_batch_to_device"
        if moves and datamodule is not None and not is_overridden(hook_name, datamodule):
            # Lightning does the same, and warns of an override that is not its user's.
            return self.transfer_batch_to_device(batch, *args)
        return super()._call_batch_hook(hook_name, batch, *args)


def trainer_of(module: LightningModule) -> Trainer | None:
    """Return the Trainer that a module is attached to; ``module.trainer`` raises where there is none."""
    return _inside(module, "_trainer")


# Signals, strategies, plugins, callbacks


class SignalConnector(_SignalConnector):
    """What handles the signals of a run, to be replaced by a subclass."""

    @classmethod
    def put_into(cls, trainer: Trainer) -> bool:
        """Take the place of Lightning's own; return whether it stood there."""
        given = is_known(trainer) and type(trainer._signal_connector) is _SignalConnector
        if given:
            trainer._signal_connector = cls(trainer)
        return given

    def on_sigterm(self, signum: int) -> None:
        """Handle SIGTERM, within the signal handler."""
        raise NotImplementedError

    def _sigterm_notifier_fn(self, signum: int, _: FrameType | None) -> None:
        self.on_sigterm(int(signum))


def signal_connector(trainer: Trainer) -> Any:
    """Return what handles the Trainer's signals."""
    return trainer._signal_connector


def take_back_signal_handlers(trainer: Trainer) -> None:
    """Put back the handlers from before the Trainer's run, if they are not yet."""
    trainer._signal_connector.teardown()


def let_device_choose_backend(strategy: DDPStrategy | ModelParallelStrategy) -> None:
    """Forget the backend of collectives that a strategy was given; before ``setup_environment`` it then finds one."""
    _inside(strategy, "_process_group_backend")
    strategy._process_group_backend = None


def shard_over(strategy: ModelParallelStrategy, processes: int) -> None:
    """Let so many processes share one copy of a model; Lightning takes the number before it counts them."""
    _inside(strategy, "_data_parallel_size")
    strategy._data_parallel_size = processes


def loads_by_name(strategy: Strategy) -> bool:
    """Return whether a strategy finds weights in a file by their names in the module, before any hook can rename them.

    Those do so that write each process's part into a folder; ModelParallelStrategy also where it writes one file.
    """
    # FSDPStrategy and ModelParallelStrategy of Lightning 2.5 and 2.6; DeepSpeed's engine writes nothing but folders.
    sharded = getattr(strategy, "_state_dict_type", None) == "sharded"
    return sharded or any(
        hasattr(strategy, name) for name in ("_save_distributed_checkpoint", "zero_stage_3")
    )


def has_writer(strategy: object) -> bool:
    """Return whether a strategy was made with a CheckpointIO; the public property makes one where there is none."""
    return getattr(strategy, "_checkpoint_io", None) is not None


def before_optimizer_step(plugin: Precision, module: LightningModule, optimizer: Steppable) -> None:
    """Call ``on_before_optimizer_step`` of callbacks and module, and clip, as ``Precision.optimizer_step`` does."""
    _inside(plugin, "_after_closure")(module, optimizer)


class TQDMBar(TQDMProgressBar):
    """Lightning's progress bar, to be told by a subclass when to write."""

    def is_due(self, current: int, total: int | float) -> bool:
        """Return whether to write to the terminal now, after ``current`` batches."""
        raise NotImplementedError

    def _should_update(self, current: int, total: int | float) -> bool:
        return self.is_due(current, total)

    def close(self) -> None:
        """Close the bars that are open; the public properties raise for those that are not."""
        for stage in ("train", "val", "test", "predict"):
            bar = _inside(self, f"_{stage}_progress_bar")
            if bar is not None:
                bar.close()


# The command line


def parser_of(cli: LightningCLI, command: str | None) -> LightningArgumentParser:
    """Return the parser of a command of LightningCLI's, or its only one."""
    return cli._parser(command)


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a parser."""
    return parser._actions
