"""Mixed precision as optimizer wrappers describe it, carried out by Lightning's precision plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.core.optimizer import do_nothing_closure
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from mm2pl.errors import ArgumentError
from mm2pl.lightning.listening import overrides
from mm2pl.lightning.private import before_optimizer_step
from mm2pl.optim.abilities import casts, has_executor
from mm2pl.optim.optimizer.autocast import autocast, default_dtype

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

LABELS: dict[torch.dtype, str] = {torch.float16: "16-mixed", torch.bfloat16: "bf16-mixed"}
"""Lightning's names of what autocast computes in; other types have none."""

# One for all: it keeps no state, and a new one in each iteration costs time.
_NOTHING = nullcontext()


def label_of(wrapper: Any, device: str) -> str:
    """Return Lightning's name of what a wrapper that casts computes in."""
    return LABELS.get(wrapper.cast_dtype or default_dtype(device), "32-true")


class ManualPrecision(Precision):
    """Go through backward and step of manual optimization without the hooks that nobody overrides.

    Lightning 2.6 calls three hooks per iteration of every callback and of the module, even where nobody overrides them.

    Args:
        replaced: The Trainer's own plugin.
    """

    def __init__(self, replaced: Precision) -> None:
        self.replaced = replaced
        self._heard: dict[str, bool] = {}

    def is_heard(self, hook: str, module: LightningModule) -> bool:
        """Return whether the module or a callback overrides a hook; looked up once per fit."""
        try:
            return self._heard[hook]
        except KeyError:
            callbacks = module.trainer.callbacks  # type: ignore[attr-defined]
            heard = self._heard[hook] = overrides(module, hook, LightningModule) or any(
                overrides(callback, hook, Callback) for callback in callbacks
            )
            return heard

    def train_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Do nothing: what casts is ``optim_context``, and ``val_cfg.fp16``, which the loop sees to."""
        return _NOTHING

    val_step_context = test_step_context = predict_step_context = train_step_context  # type: ignore[assignment]

    def pre_backward(self, tensor: torch.Tensor, module: LightningModule) -> torch.Tensor:  # type: ignore[override]
        """Call ``on_before_backward``, if anybody listens."""
        if self.is_heard("on_before_backward", module):
            return super().pre_backward(tensor, module)
        return tensor

    def post_backward(self, tensor: torch.Tensor, module: LightningModule) -> torch.Tensor:  # type: ignore[override]
        """Call ``on_after_backward``, if anybody listens."""
        if self.is_heard("on_after_backward", module):
            return super().post_backward(tensor, module)
        return tensor

    def optimizer_step(  # type: ignore[override]
        self,
        optimizer: torch.optim.Optimizer,
        model: LightningModule,
        closure: Callable[[], Any],
        **kwargs: Any,
    ) -> Any:
        """Step; with Lightning's empty closure, and nobody to listen, without a closure."""
        if closure is do_nothing_closure and not self.is_heard("on_before_optimizer_step", model):
            return optimizer.step(**kwargs)
        return super().optimizer_step(optimizer, model, closure, **kwargs)


class AmpPrecision(MixedPrecision):
    """Cast and scale as each :class:`~mm2pl.optim.AmpOptimWrapper` says.

    Lightning's own plugin casts the whole step, validation included, and has one scaler for all optimizers. MMEngine
    casts what stands within ``optim_context``, does not cast validation, and each wrapper has its scaler. So under
    manual optimization the wrapper unscales, clips and updates the scale, and this plugin makes the step; under
    automatic optimization Lightning's loop does the same through this plugin alone.

    Args:
        wrappers: Every wrapper of the run; those without mixed precision step as usual.
        device: Type of the device that computes.
        automatic: Whether Lightning's loop drives the optimizer.
        replaced: The Trainer's own plugin.
    """

    def __init__(
        self, wrappers: Iterable[Any], device: str, automatic: bool, replaced: Precision
    ) -> None:
        self.replaced = replaced
        self._wrappers = {
            id(wrapper.optimizer): wrapper
            for wrapper in wrappers
            if casts(wrapper) and has_executor(wrapper)
        }
        first = next(iter(self._wrappers.values()))
        # With "16-mixed" Lightning 2.6 makes a GradScaler of its own, and the loss would be scaled twice.
        super().__init__("bf16-mixed", device)
        self._dtype = first.cast_dtype or default_dtype(device)
        self._automatic = automatic
        self.precision = label_of(first, device)  # type: ignore[assignment]

    def autocast_context_manager(self, dtype: torch.dtype | None = None) -> torch.autocast:
        """Return the context that casts; to the first wrapper's type if none is given."""
        return autocast(self.device, dtype or self._dtype)

    def train_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Cast Lightning's step; a model's own ``train_step`` casts within ``optim_context``."""
        return self.forward_context() if self._automatic else nullcontext()

    def val_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Do nothing: MMEngine casts validation only with ``val_cfg.fp16``, which the loop sees to."""
        return nullcontext()

    test_step_context = predict_step_context = val_step_context  # type: ignore[assignment]

    def pre_backward(self, tensor: torch.Tensor, module: LightningModule) -> torch.Tensor:  # type: ignore[override]
        """Scale the loss, unless the wrapper has done so."""
        if self._automatic:
            # Several optimizers are always driven by hand.
            [wrapper] = self._wrappers.values()
            tensor = wrapper.loss_scaler.scale(tensor)
        return super().pre_backward(tensor, module)

    def optimizer_step(  # type: ignore[override]
        self,
        optimizer: torch.optim.Optimizer,
        model: LightningModule,
        closure: Callable[[], Any],
        **kwargs: Any,
    ) -> Any:
        """Step, unless gradients are infinite."""
        wrapper = self._wrappers.get(id(optimizer))
        if wrapper is None:
            return super().optimizer_step(optimizer, model, closure, **kwargs)
        scaler = wrapper.loss_scaler
        # Lightning's word for a skipped step, but only under automatic optimization: the closure of manual
        # optimization always returns None.
        skipped = closure() is None and self._automatic
        # Before hooks and clipping, which want the true gradients. By hand, the wrapper has unscaled and clipped.
        if self._automatic and not skipped:
            scaler.unscale_(optimizer)
        before_optimizer_step(self, model, optimizer)
        if skipped:
            return None
        result = scaler.step(optimizer, **kwargs)
        if self._automatic:
            wrapper.update_scale()
        return result


def use_wrappers_precision(trainer: Trainer, wrappers: Iterable[Any], automatic: bool) -> None:
    """Give the Trainer the plugin that its optimizer wrappers ask for.

    Raises:
        ValueError: The Trainer was given another precision.
    """
    wrappers, own = list(wrappers), trainers_precision(trainer)
    # A subclass such as DoublePrecision casts in the methods that ManualPrecision leaves out.
    plugin = ManualPrecision(own) if type(own) is Precision and not automatic else own
    casting = [wrapper for wrapper in wrappers if casts(wrapper)]
    device = trainer.strategy.root_device.type
    if casting and type(own) is not Precision:
        computed = label_of(casting[0], device)
        if type(own) is not MixedPrecision or own.precision != computed:
            name = getattr(own, "precision", type(own).__name__)
            raise ArgumentError(
                f"Trainer(precision={name!r}) and {type(casting[0]).__name__}, which computes in {computed!r}, both "
                "set the precision → use OptimWrapper to leave it to the Trainer, or drop the flag"
            )
        # What the wrapper casts and scales itself, Lightning's plugin would cast and scale once more.
        plugin = ManualPrecision(own)
    # MMEngine's own wrapper needs no plugin: it casts in `optim_context`, and scales in `backward`.
    if any(has_executor(wrapper) for wrapper in casting):
        plugin = AmpPrecision(wrappers, device, automatic, own)
    trainer.strategy.precision_plugin = plugin


def trainers_precision(trainer: Trainer) -> Precision:
    """Return the plugin that the Trainer was made with, also after an earlier fit has put another in its place."""
    plugin = trainer.precision_plugin
    return getattr(plugin, "replaced", plugin)
