"""What the run, its hooks and its loops need of each other's objects, and of Lightning's; anything that has it will do.

What is a property here is only read; a class may have a plain attribute of a narrower type under that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging

    import torch
    from lightning.pytorch import Trainer
    from torch import nn
    from torch.utils.data import DataLoader

    from mm2pl.config import Config
    from mm2pl.evaluator import Evaluator
    from mm2pl.logging import MessageHub
    from mm2pl.optim import OptimWrapper
    from mm2pl.run.eval_loops import EvalLoop
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.run.priority import Priority


class LoaderLike(Protocol):
    """What a run takes its batches from: torch's DataLoader, or what passes for one."""

    @property
    def dataset(self) -> Any:
        """The data set; its ``metainfo``, if it has any, goes to evaluators and visualizers."""

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class ModelLike(Protocol):
    """The steps of a model, which its module and the loops call; a model must have at least one of them."""

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Compute the losses of a batch, update the parameters, and return what is to be logged."""

    def val_step(self, data: Any) -> Any:
        """Return the predictions for a batch of the validation."""

    def test_step(self, data: Any) -> Any:
        """Return the predictions for a batch of the test."""


class PositionLike(Protocol):
    """Where a training is and where it ends: of a training loop, or of the runner around it."""

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""

    @property
    def iter(self) -> int:
        """Iterations finished so far."""

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""

    @property
    def val_begin(self) -> int:
        """The first epoch or iteration that is followed by a validation."""

    @property
    def val_interval(self) -> int:
        """Epochs or iterations between validations, at this moment."""


class TrainLoopLike(PositionLike, Protocol):
    """What hooks read and set of the training loop."""

    stop_training: bool
    """Set it to end the run; MMEngine's loops look at it between two epochs."""

    @property
    def dataloader(self) -> LoaderLike:
        """The loop's data."""


class SchedulerLike(Protocol):
    """What a run saves, restores and steps of a schedule."""

    by_epoch: bool

    def step(self, *args: Any) -> None:
        """Go on by one epoch or iteration."""

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule stands."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where :meth:`state_dict` was called."""


SchedulersLike = dict[str, list[SchedulerLike]] | list[SchedulerLike] | None
"""The schedules of a run: a dict of lists for several optimizers; ``None`` if there are none."""


class HookLike(Protocol):
    """What a run reads of a hook; which of MMEngine's points it has is looked up when they are reached."""

    priority: int | str | Priority

    def get_triggered_stages(self) -> list[str]:
        """List the points that the hook does something at."""


class EndLike(Protocol):
    """How a training ends: what a hook may ask in ``after_train``."""

    @property
    def is_inside_epoch(self) -> bool:
        """Return whether an epoch of a run by epochs has begun and not ended."""

    @property
    def is_cut_short(self) -> bool:
        """Return whether the Trainer ends the training here, before the end that the loop or a hook has set."""


class PartsLike(Protocol):
    """What a run works with.

    ``| Any`` stands at what a run may lack, where MMEngine has None: a hook that acts in ``after_train_iter`` need not
    ask whether there is a training loop.
    """

    @property
    def trainer(self) -> Trainer:
        """Lightning's Trainer."""

    @property
    def device(self) -> torch.device:
        """The device that this process computes on."""

    @property
    def model(self) -> nn.Module:
        """The bare model."""

    @property
    def model_name(self) -> str:
        """The class name of the model."""

    @property
    def optim_wrapper(self) -> Any:
        """An OptimWrapper, an OptimWrapperDict, or before the training the config of one."""

    @property
    def param_schedulers(self) -> Any:
        """A list of schedules, a dict of lists for several optimizers, or before the training their config."""

    @property
    def train_loop(self) -> TrainLoopLike | Any:
        """The training loop."""

    @property
    def val_loop(self) -> EvalLoop | Any:
        """The validation loop."""

    @property
    def test_loop(self) -> EvalLoop | Any:
        """The test loop."""

    @property
    def train_dataloader(self) -> LoaderLike | Any:
        """The training loader."""

    @property
    def val_dataloader(self) -> LoaderLike | Any:
        """The validation loader."""

    @property
    def test_dataloader(self) -> LoaderLike | Any:
        """The test loader."""

    @property
    def val_evaluator(self) -> Evaluator | Any:
        """The evaluator of the validation loop."""

    @property
    def test_evaluator(self) -> Evaluator | Any:
        """The evaluator of the test loop."""

    @property
    def hooks(self) -> list[Any]:
        """The hooks, in the order in which they are called."""


class ServicesLike(Protocol):
    """The config of a run, and where the run reports."""

    @property
    def cfg(self) -> Config:
        """The config; empty for a Trainer that the user made."""

    @property
    def logger(self) -> logging.Logger:
        """The log."""

    @property
    def message_hub(self) -> MessageHub:
        """The histories of what was logged."""

    @property
    def log_processor(self) -> LogProcessor:
        """What makes lines of text of the message hub."""

    @property
    def visualizer(self) -> Any:
        """A Visualizer; projects' own have further methods."""


class StartLike(Protocol):
    """Under which name, where, in which processes and with which random numbers a run was started."""

    @property
    def experiment_name(self) -> str:
        """The name of the run."""

    @property
    def timestamp(self) -> str:
        """The time of the start, as ``YYYYMMDD_HHMMSS``."""

    @property
    def work_dir(self) -> str:
        """The folder of the run."""

    @property
    def log_dir(self) -> str:
        """The folder of this start's log."""

    @property
    def launcher(self) -> str:
        """What started the processes; ``none`` if the Trainer does."""

    @property
    def rank(self) -> int:
        """This process's global rank."""

    @property
    def world_size(self) -> int:
        """The number of processes."""

    @property
    def distributed(self) -> bool:
        """Return whether several processes train together."""

    @property
    def seed(self) -> int | None:
        """The seed; ``None`` for a Trainer that the user made."""

    @property
    def deterministic(self) -> bool:
        """Return whether deterministic algorithms were asked for."""

    @property
    def diff_rank_seed(self) -> bool:
        """Return whether every process seeds differently."""


class RunnerLike(PositionLike, EndLike, PartsLike, ServicesLike, StartLike, Protocol):
    """The ``runner`` that hooks, loops and models get: of a run, or of a user's own Trainer."""

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call one point of every hook that has it."""

    def build_dataloader(
        self, dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a loader from its dict; a built one is returned as it is."""

    def build_evaluator(self, evaluator: Evaluator | dict | list) -> Evaluator:
        """Build an evaluator from metrics; a built one is returned as it is."""

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint; every process must call this."""


class RunnerOfRunLike(RunnerLike, Protocol):
    """What the runner of a run can do besides, and that of a Trainer which the user made cannot."""

    model: nn.Module
    """The bare model; ``PrepareTTAHook`` and others put another in its place."""

    @property
    def has_val_loop(self) -> bool:
        """Return whether the run validates; asking builds nothing."""

    def limit_train_batches(self, length: int) -> int:
        """Apply the Trainer's limits to a number of batches."""


class OthersLike(Protocol):
    """Who watches the other processes of a run."""

    def is_told(self, error: BaseException) -> bool:
        """Return whether somebody has said why this process fails; say it if its partner is missing."""
        ...


class TellerLike(Protocol):
    """Who tells Lightning of the points that a loop which drives reaches."""

    def reach(self, point: str, call_hooks: Callable[[], None], given: dict[str, Any]) -> None:
        """Call the hooks of a point, and Lightning's callbacks around them; ``given`` are the point's arguments."""


# Lightning's objects, as far as a run reads them: with these it can be tested without Lightning.


class ByHandLike(Protocol):
    """What is around a training that a script goes through itself, outside a fit."""

    def begin(self) -> None:
        """Set up devices and processes, if nobody has."""

    def equip(self, optim_wrapper: Any) -> None:
        """Let optimizer wrappers work with that."""

    def end(self) -> None:
        """Leave it all to a fit."""


class StrategyLike(Protocol):
    """What a run asks the strategy of its Trainer."""

    @property
    def root_device(self) -> torch.device:
        """The device that this process computes on."""

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Return whether it shards the model, and so reads a checkpoint only once that is done."""

    def broadcast(self, obj: object) -> Any:
        """Give every process the first one's object."""

    def connect(self, model: Any) -> None:
        """Take the module, before anything has run."""


class TrainerLike(Protocol):
    """What a run reads of its Trainer."""

    limit_train_batches: Any
    training: bool
    fit_loop: Any
    state: Any

    @property
    def strategy(self) -> StrategyLike:
        """Where and how it computes."""

    @property
    def global_rank(self) -> int:
        """This process's global rank."""

    @property
    def world_size(self) -> int:
        """The number of processes."""

    @property
    def model(self) -> nn.Module | None:
        """The module as the strategy has wrapped it; ``None`` before anything has run."""

    @property
    def ckpt_path(self) -> Any:
        """The file that it is restoring."""

    def save_checkpoint(
        self,
        filepath: str,
        weights_only: bool = False,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint."""


class ModuleLike(Protocol):
    """What a run needs of the module that its Trainer drives."""

    model: Any
    optim_wrapper: Any
    param_scheduler: Any
    param_schedulers: Any
    evaluators: dict[str, Any]
    trainer: Any

    @property
    def lightning_module(self) -> Any:
        """What the Trainer is given: this, or the LightningModule that it stands for."""

    @property
    def follows_lightning(self) -> bool:
        """Return whether nobody calls the model's ``train()`` or ``init_weights()``, as under Lightning alone."""

    @property
    def brings_optimizers(self) -> bool:
        """Return whether Lightning asks the model for its optimizers, so that there is nothing to build."""

    @property
    def automatic_optimization(self) -> bool:
        """Return whether Lightning drives the optimizer."""

    @property
    def strict_loading(self) -> bool:
        """Return whether the keys of a file must be exactly the model's."""

    def choose_optimization(self) -> list[str]:
        """Decide who drives the optimizer, and return what follows Lightning instead of MMEngine."""

    def take_schedules(self, value: object) -> None:
        """Take schedules, or what they will be built from."""

    def use_loop(self, stage: str, loop: EvalLoop) -> None:
        """Evaluate with this loop."""

    def outer_weights(self) -> dict[str, Any]:
        """Return the weights that are not the model's."""

    def compile_step(self, stage: str) -> None:
        """Compile a step, if that was asked for."""

    def to(self, device: torch.device) -> Any:
        """Move all parameters and buffers."""


class DataModuleLike(Protocol):
    """What a run needs of the data module that its Trainer takes loaders from."""

    configs: dict[str, Any]

    @property
    def lightning_datamodule(self) -> Any:
        """What the Trainer is given: this, or the LightningDataModule that it stands for."""

    def use_loader(self, stage: str, loader: LoaderLike) -> None:
        """Give the Trainer this loader."""
