"""What a Trainer's strategy does around a training that a script goes through itself, outside any fit."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import DDPStrategy

from mm2pl.dist import is_distributed
from mm2pl.errors import ArgumentError, StateError
from mm2pl.lightning.ddp import averaged_outside
from mm2pl.lightning.executor import told_of_accumulation
from mm2pl.optim import TorchExecutor
from mm2pl.optim.abilities import has_executor, is_optim_wrapper, wrappers_of

if TYPE_CHECKING:
    from mm2pl.run.run import Run


class ByHand:
    """Set up the strategy of a run on first use: its device, and gradients that are averaged over the processes.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open = ExitStack()
        self._wrapped: Any = None
        self._told: list[Any] = []
        self.begun = False

    def begin(self) -> None:
        """Set up the strategy, if nobody has.

        Raises:
            RuntimeError: Lightning starts the processes itself, and only in a fit.
            ValueError: The strategy is another than DDP.
        """
        trainer, module = self._run.trainer, self._run.module
        if not self.begun:
            strategy: Any = trainer.strategy
            if trainer.world_size > 1:
                self._require_processes(strategy)
            strategy.setup_environment()
            module.to(strategy.root_device)
            if trainer.world_size > 1:
                strategy.connect(module)
                strategy.configure_ddp()
                self._wrapped = strategy.model
                averaged = averaged_outside(self._wrapped, module.model, lambda: False)
                self._open.enter_context(averaged)
            self.begun = True  # last: what was refused is refused again
        self.equip(module.optim_wrapper)

    def _require_processes(self, strategy: Any) -> None:
        count = self._run.trainer.world_size
        if not is_distributed():
            raise StateError(
                f"before_train outside Runner.train(), in {count} processes → Trainer(devices=…) starts them in a fit "
                "only → start the script with torchrun and launcher='pytorch', or put the loop into the run() of a "
                "class for train_cfg, and call train()"
            )
        if not isinstance(strategy, DDPStrategy):
            raise ArgumentError(
                f"{type(strategy).__name__}, outside Runner.train(), in {count} processes → a loop of a script works "
                "with DDPStrategy → leave out strategy and model_wrapper_cfg, or put the loop into the run_iter() of "
                "a class for train_cfg"
            )

    def equip(self, optim_wrapper: Any) -> None:
        """Let optimizer wrappers accumulate without averaging before the window ends."""
        if self._wrapped is None or not is_optim_wrapper(optim_wrapper):
            return
        for wrapper in wrappers_of(optim_wrapper).values():
            if has_executor(wrapper):
                wrapper.executor = HandExecutor(self._wrapped)
            elif all(wrapper is not each for each in self._told):
                self._told.append(wrapper)
                self._open.enter_context(told_of_accumulation(wrapper, self._wrapped.no_sync))

    def end(self) -> None:
        """Leave the model to a fit."""
        self._open.close()
        self._wrapped, self._told, self.begun = None, [], False


class HandExecutor(TorchExecutor):
    """Do what torch does, and hold back the averaging of the processes' gradients where an optimizer wrapper asks.

    Args:
        wrapped: DDP around the module that has the model; the model itself cannot hold back.
    """

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def no_sync(self, model: Any) -> AbstractContextManager[Any]:
        """Return a context in which a forward pass is followed by a backward pass without averaging."""
        return self._wrapped.no_sync()
