"""Wrappers of MMEngine that have a better successor, and say so."""

from __future__ import annotations

from typing import Any, NoReturn

from mm2pl.errors import UnsupportedError
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper
from mm2pl.registry import OPTIM_WRAPPERS


# Registered all the same: the registry's own error would not say what to use instead.
class _Replaced(OptimWrapper):
    """A wrapper that cannot be built; its error names what to use instead."""

    instead: str

    def __init__(self, **kwargs: Any) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedError(f"{type(self).__name__} is not available → {self.instead}")


@OPTIM_WRAPPERS.register_module()
class ApexOptimWrapper(_Replaced):
    """Raise NotImplementedError: torch has apex's mixed precision itself.

    Every argument is accepted, so that the message comes in all cases.
    """

    instead = "use type='AmpOptimWrapper': torch.amp has replaced apex.amp (O1)."


@OPTIM_WRAPPERS.register_module()
class ColossalAIOptimWrapper(_Replaced):
    """Raise NotImplementedError: ColossalAI does not run on today's PyTorch."""

    instead = "use type='AmpOptimWrapper' with the Trainer's FSDPStrategy or DeepSpeedStrategy."
