"""Run an optimizer wrapper's casts, backward, step and gradient synchronisation through a Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import DeepSpeedStrategy

from mm2pl.errors import ArgumentError
from mm2pl.optim import TorchExecutor

if TYPE_CHECKING:
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch import nn


class LightningExecutor:
    """Stand for :class:`mm2pl.optim.TorchExecutor` while a Trainer drives the module.

    ``backward`` and ``step`` go through the Trainer's strategy and precision plugin, so ``global_step`` counts, DDP and
    DeepSpeed work, and callbacks see ``on_before_optimizer_step``.
    """

    def __init__(self, module: LightningModule) -> None:
        self._module = module
        self._strategy: Any = module.trainer.strategy
        self._steppers: dict[int, Any] = {}
        self.holds_back = False

    def __reduce__(self) -> tuple[type[TorchExecutor], tuple[()]]:
        # A copy of the module, for averaging or in another process, has no Trainer.
        return TorchExecutor, ()

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Run backward; ``kwargs`` go to ``Tensor.backward``."""
        strategy = self._strategy
        hold = self.holds_back and hasattr(strategy.model, "no_sync")
        # For one backward: an optimizer wrapper asks anew in each iteration.
        self.holds_back = False
        with strategy.model.no_sync() if hold else nullcontext():
            # What `LightningModule.manual_backward` of Lightning 2.6 calls; it names no optimizer either.
            strategy.backward(loss, None, **kwargs)

    def step(self, optimizer: torch.optim.Optimizer, scaler: object = None, **kwargs: Any) -> Any:
        """Step the optimizer through the strategy; ``kwargs`` go to ``Optimizer.step``.

        The precision plugin, :class:`~mm2pl.lightning.precision.AmpPrecision`, knows each optimizer's ``scaler``.
        """
        stepper = self._steppers.get(id(optimizer))
        if stepper is None:
            # Lightning counts the steps of these only; a single one comes without a list.
            found: Any = self._module.optimizers()
            steppers = found if isinstance(found, list) else [found]
            self._steppers = {id(wrapped.optimizer): wrapped for wrapped in steppers}
            stepper = self._steppers.get(id(optimizer), optimizer)
        return stepper.step(**kwargs)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Skip the gradient all-reduce of the backward that follows.

        The wrapper that knows how is the strategy's, around the whole module. Under manual optimization Lightning
        prepares it in backward, which comes after the context in which an optimizer wrapper runs the forward.
        """
        self.holds_back = True
        return nullcontext()

    def autocast(self, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
        """Return the precision plugin's context, computing in ``dtype``."""
        return self._strategy.precision_plugin.autocast_context_manager(dtype)


class Follower:
    """Do what a Trainer must around an optimizer wrapper that runs backward and steps itself, as MMEngine's do.

    DDP averages gradients at the end of an accumulation window, and ``global_step`` counts the steps. Callbacks are not
    told of them: ``on_before_backward``, ``on_after_backward`` and ``on_before_optimizer_step`` are not called.

    Args:
        wrapper: The optimizer wrapper.
        trainer: The Trainer of the fit.

    Raises:
        ValueError: The strategy's engine would have to act.
    """

    def __init__(self, wrapper: Any, trainer: Trainer) -> None:
        self._wrapper, self._backward = wrapper, wrapper.backward
        self._strategy: Any = trainer.strategy
        self.holds_back = False
        if isinstance(self._strategy, DeepSpeedStrategy):
            raise ArgumentError(
                f"{type(wrapper).__module__}.{type(wrapper).__name__} runs backward and steps itself, and with "
                "DeepSpeedStrategy only the engine can → let the constructor make mm2pl.optim.optimizer's "
                "DeepSpeedOptimWrapper, or take another strategy"
            )
        epochs = trainer.fit_loop.epoch_loop
        self._progress = epochs.manual_optimization.optim_step_progress

    @contextmanager
    def on(self) -> Iterator[None]:
        """Replace the wrapper's ``backward`` and ``optim_context`` inside."""
        wrapper = self._wrapper
        handle = wrapper.optimizer.register_step_post_hook(self._count)
        try:
            with (
                replaced(wrapper, "backward", self._go_backward),
                told_of_accumulation(wrapper, self._note),
            ):
                yield
        finally:
            handle.remove()

    def _note(self) -> AbstractContextManager[None]:
        self.holds_back = True
        return nullcontext()

    def _go_backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        strategy = self._strategy
        hold = self.holds_back and hasattr(strategy.model, "no_sync")
        self.holds_back = False
        with strategy.model.no_sync() if hold else nullcontext():
            strategy.pre_backward(loss)
            self._backward(loss, **kwargs)
            strategy.post_backward(loss)

    def _count(self, *_: Any) -> None:
        self._progress.increment_ready()
        self._progress.increment_completed()


@contextmanager
def told_of_accumulation(
    wrapper: Any, hold_back: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Enter ``hold_back()`` inside each ``optim_context`` of a wrapper from which gradients are only added.

    MMEngine 0.10.7 calls ``no_sync`` of the model that it is given there: here the model without DDP, which has none.
    """
    if not hasattr(wrapper, "optim_context"):
        yield
        return
    own = wrapper.optim_context

    @contextmanager
    def optim_context(*args: Any, **kwargs: Any) -> Iterator[None]:
        adds = hasattr(wrapper, "should_sync") and not wrapper.should_sync()
        with hold_back() if adds else nullcontext(), own(*args, **kwargs):
            yield

    with replaced(wrapper, "optim_context", optim_context):
        yield


@contextmanager
def replaced(owner: Any, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Give an object another method inside; afterwards it has the class's again, or what had been set on it."""
    before = {key: value for key, value in vars(owner).items() if key == name}
    setattr(owner, name, method)
    try:
        yield
    finally:
        # Somebody who has replaced it later may have taken it away by now.
        vars(owner).pop(name, None)
        vars(owner).update(before)
