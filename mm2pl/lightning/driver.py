"""What carries a module of ours through a Trainer, whether its user has made that or a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.errors import StateError
from mm2pl.hooks.stages import HookStages
from mm2pl.lightning.border import Border
from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.executor import Follower, LightningExecutor
from mm2pl.lightning.optimization import (
    needs_manual_optimization,
    refuse_flags,
)
from mm2pl.lightning.parameters import KnownParameters, NamedGroups
from mm2pl.lightning.private import trainer_of
from mm2pl.lightning.schedules import are_replaced
from mm2pl.optim.abilities import has_executor, wrappers_of
from mm2pl.optim.optimizer.default_constructor import unused_keys_told_later
from mm2pl.run.model import train_step

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch.optim import Optimizer

    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.eval_loops import EvalLoop


class ModuleDriver(HookStages):
    """The one callback that carries a module through a Trainer; the module puts it there when it gets a Trainer.

    What a LightningModule's own hooks could do is done here, so that a subclass may override any of them, without
    ``super()``: Lightning never needs it. What a step cannot do without stays in the step, because Lightning's tuner
    empties the list of callbacks for a while.

    Attributes:
        flags_win: Whether a Trainer flag replaces what the optimizer wrapper says, or giving both is an error.
        exact: Whether the results must be MMEngine's to the last bit, so that manual optimization comes first.
        hooks_log: Whether what is logged reaches the loggers through a hook; ``self.log`` would write it twice.
        loops: Per stage the loop that feeds its evaluator.
        outputs: What the last training step has returned, without a graph.
        has_stepped: Whether the step of the batch that is open has been made.
    """

    flags_win = exact = hooks_log = False

    def __init__(self, module: MMLightningModule) -> None:
        self.module = module
        self.loops: dict[str, EvalLoop] = {}
        self.outputs: Any = None
        self.has_stepped = False
        self._restored_wrapper: Any = None
        self._trainer_accumulates: int | None = None
        self._groups: list[NamedGroups] = []
        self._known: KnownParameters | None = None
        self._unsaid: list[Callable[[], None]] = []
        self._followed = ExitStack()
        self._followers: list[Follower] = []

    @property
    def holds_back(self) -> bool:
        """Return whether an optimizer wrapper that acts itself adds gradients next that are not to be averaged yet."""
        return any(each.holds_back for each in self._followers)

    @property
    def trainer(self) -> Any:
        """The module's Trainer."""
        return self.module.trainer

    def for_copies(self) -> dict[str, Any] | None:
        """Return what a copy of the module must know of its fits so far; plain data, or copied as the module is."""
        return None

    def join(self, trainer: Trainer) -> None:
        """Take over a Trainer that has just been given the module.

        Raises:
            ValueError: A flag of the Trainer rules out what the module needs; Lightning would say so in its words.
        """
        module = self.module
        self.lead(trainer)
        if trainer.state.fn == "fit" and needs_manual_optimization(
            module.model, module.optim_wrapper
        ):
            refuse_flags(trainer, module.model)
        Border.stand_at(trainer, self)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave a Trainer that has been given another module; else build what it is about to need."""
        if pl_module is not self.module.lightning_module:
            self.withdraw(trainer)
            if self.driven_hooks(trainer):
                HookStages.drive(trainer)
            return
        self.begin(trainer, stage)

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Build what a stage needs, and call ``before_run``."""
        raise NotImplementedError

    def open_batch(self, batch: Any, batch_idx: int) -> None:
        """Remember a batch whose end is to be told."""
        self.has_stepped, self._batch = False, (batch, batch_idx)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See who steps the schedules from now on: StochasticWeightAveraging replaces them at this moment."""
        self.module.schedules_replaced = are_replaced(trainer, self.module)
        super().on_train_epoch_start(trainer, pl_module)

    def settle_for_file(self) -> None:
        """Do what belongs to the last batch, before a file is written that must hold it."""
        trainer = trainer_of(self.module.lightning_module)
        # Lightning counts a batch as processed too if its step was left out, which calls no `on_train_batch_end`.
        if trainer is not None and self.has_stepped:
            self.settle(trainer, self.outputs)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to :class:`~mm2pl.lightning.border.Border`, which also sees one with weights only."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to the border, which sees it before the weights are loaded."""

    def accept(self, checkpoint: dict[str, Any]) -> None:
        """Take up a file that the Trainer has read; its names are those of a file."""

    def fit_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Leave in a checkpoint what the optimizers can take, just before Lightning restores them."""

    def trained(self) -> dict[str, Any]:
        """Return by name the wrappers of the optimizers that train, or these if they have none: a user's own."""
        wrappers, optimizers = wrappers_of(self.module.optim_wrapper), self.trainer.optimizers
        known = [getattr(wrapper, "optimizer", None) for wrapper in wrappers.values()]
        if any(optimizer is each for optimizer in optimizers for each in known):
            return wrappers
        one = len(optimizers) == 1
        return {"" if one else f"optimizer_{i}": each for i, each in enumerate(optimizers)}

    def take_optimizer(self, state: Any) -> None:
        """Keep the optimizer wrapper's state in a file until Lightning has restored the optimizer itself."""
        self._restored_wrapper = state

    def train_outputs(self, pl_module: LightningModule, outputs: Any) -> Any:
        """Return a training step's outputs with the loss as it was: Lightning divides it by the window.

        A step that returns None leaves its batch out. Then the hooks get None too, in which Lightning puts ``{}``.
        """
        if not isinstance(outputs, dict) or not self.module.automatic_optimization:
            return outputs
        return None if self.outputs is None else {**outputs, "loss": self.outputs["loss"]}

    def refuse_callbacks(self) -> None:
        """Refuse callbacks of the Trainer that cannot work."""

    def remember_parameters(self, optimizers: Iterable[Optimizer]) -> None:
        """Note by name what was given to the optimizers that have just been built."""
        self._groups = [NamedGroups(optimizer, self.module) for optimizer in optimizers]
        self._known = KnownParameters(self.module)

    @contextmanager
    def parameters_may_follow(self) -> Iterator[None]:
        """Build an optimizer inside, and warn later of names that no parameter has yet."""
        with unused_keys_told_later() as self._unsaid:
            yield

    def catch_up(self) -> None:
        """Build the optimizer anew if the module has got parameters since.

        They come from its ``setup`` or ``configure_model``, or from another callback's ``setup``. An optimizer of
        Lightning's, which is made only now, trains them too.
        """
        known, self._known = self._known, None
        if known is None or self.trainer.state.fn != "fit":
            return
        if known.are_outdated(self.module):
            self.build_anew()
        unsaid, self._unsaid = self._unsaid, []
        for tell in unsaid:
            tell()

    def build_anew(self) -> None:
        """Build the optimizer again, and what depends on it."""
        raise NotImplementedError

    def follow_parameters(self) -> None:
        """Let the optimizers train what now has the names of what they were given."""
        # Lightning's finetuning callbacks add what they have frozen to the optimizer when they let it go.
        adds = any(hasattr(each, "unfreeze_and_add_param_group") for each in self.trainer.callbacks)
        for groups in self._groups:
            groups.follow(self.module, leave_out_frozen=adds)

    def act_for(self, wrappers: Iterable[Any]) -> None:
        """Let the Trainer act for the wrappers of a fit under manual optimization, or follow those that act themselves.

        Raises:
            ValueError: One acts itself, and only the strategy's engine could.
        """
        self._followed.close()  # what an exception has left
        self._followers = []
        for wrapper in wrappers:
            if has_executor(wrapper):
                wrapper.executor = LightningExecutor(self.module)
            else:
                self._followers.append(Follower(wrapper, self.trainer))
                self._followed.enter_context(self._followers[-1].on())

    def borrow_accumulation(self) -> None:
        """Note the Trainer's own accumulation, before the optimizer wrapper's is written there for a fit."""
        self._give_back(self.trainer)  # what an exception has left
        self._trainer_accumulates = self.trainer.accumulate_grad_batches

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the Trainer back its own accumulation: the next fit may be another module's."""
        self._give_back(trainer)
        super().teardown(trainer, pl_module, stage)

    def withdraw(self, trainer: Trainer) -> None:
        """Give it back here too: Lightning calls no ``teardown`` after an exception.

        ``on_exception`` would be too early: a file that is written then holds an open window.
        """
        self._give_back(trainer)
        super().withdraw(trainer)

    def _give_back(self, trainer: Trainer) -> None:
        self._followed.close()
        if self._trainer_accumulates is not None:
            trainer.accumulate_grad_batches = self._trainer_accumulates
            self._trainer_accumulates = None

    def build_alone(self) -> None:
        """Build optimizer and schedules where there is no Trainer."""
        raise StateError(
            f"{type(self.module).__name__} is driven by a run, which builds its optimizer"
        )

    def before_optimizers(self) -> None:
        """Complete optimizer and schedules, just before the Trainer takes them."""

    def before_step(self) -> None:
        """Do what the first training step must find done, also where no callback was called."""

    def train(self, batch: object, batch_idx: int) -> Any:
        """Run one iteration of manual optimization."""
        return train_step(self.module.model, batch, self.module.optim_wrapper)

    def publish(self, outputs: Any) -> None:
        """Take note of what a training step returns."""
        if isinstance(outputs, torch.Tensor):
            outputs = {"loss": outputs}
        named = isinstance(outputs, (dict, Mapping))
        loss = outputs.get("loss") if named else None
        if isinstance(loss, torch.Tensor) and loss.requires_grad:
            # The graph would stay in memory until the next step is over.
            outputs = {**outputs, "loss": loss.detach()}
        self.outputs, self.has_stepped = outputs, True

    # Evaluation

    def open_evaluation(self, stage: str) -> None:
        """Make the loop that feeds the evaluator of ``val`` or ``test``."""

    def _open(self, trainer: Trainer, stage: str) -> None:
        # While it trains, MMEngine 0.10.7 compiles `train_step` and nothing else.
        if trainer.state.fn != "fit":
            self.module.compile_step(stage)
        self.open_evaluation(stage)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open(trainer, "val")
        super().on_validation_start(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open(trainer, "test")
        super().on_test_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics, under MMEngine's names."""
        self._evaluate("val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics, under MMEngine's names."""
        self._evaluate("test")

    def _evaluate(self, stage: str) -> None:
        loop = self.loops.get(stage)
        if loop is not None:
            self.module.eval_metrics = loop.metrics()
            self.module.log_dict(
                scalars_of(self.module.eval_metrics),
                logger=False if self.hooks_log else None,
                batch_size=1,
                reduce_fx="max",  # every process has the same values, which this leaves as they are
                sync_dist=True,
            )
