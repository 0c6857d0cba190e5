"""``mmengine._strategy``: the classes that engine packages import, test for and derive from.

The strategies of Lightning's Trainer do their work. So each of these can be imported, and derived from; `isinstance`
knows the Trainer's strategy by it; and whoever makes one is told what to write instead.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from mm2pl.optim.optimizer import DeepSpeedOptimWrapper as DeepSpeedOptimWrapper
from mm2pl.plan.processes import STRATEGIES


class _Replaced(type):
    """A class whose objects are those of the Trainer's class of the same task."""

    stands_for: tuple[str, ...]

    def __instancecheck__(cls, instance: Any) -> bool:
        for path in vars(cls).get("stands_for", ()):
            home, _, name = path.rpartition(".")
            # A class whose module nobody has imported has no objects.
            kind = getattr(sys.modules.get(home), name, None)
            if kind is not None and isinstance(instance, kind):
                return True
        return super().__instancecheck__(instance)

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        own = next(base for base in cls.__mro__ if "instead" in vars(base))
        raise NotImplementedError(
            f"{cls.__name__}(…) is made by hand → the Trainer's strategy does its work: {vars(own)['instead']}"
        )


class BaseStrategy(metaclass=_Replaced):
    """What MMEngine's strategies derive from."""

    stands_for: tuple[str, ...] = ("lightning.pytorch.strategies.Strategy",)
    instead = (
        "derive from lightning.pytorch.strategies.Strategy, and give it by "
        "FlexibleRunner(trainer=dict(strategy=…)) or --trainer.strategy"
    )


def _in_config(name: str) -> str:
    return f"strategy=dict(type={name!r}, …) in the config of a FlexibleRunner, or trainer=dict(strategy=…)"


class SingleDeviceStrategy(BaseStrategy):
    """One process."""

    stands_for: tuple[str, ...] = ("lightning.pytorch.strategies.SingleDeviceStrategy",)
    instead = _in_config("SingleDeviceStrategy")


class DDPStrategy(SingleDeviceStrategy):
    """One process a device, each with the whole model."""

    stands_for = (STRATEGIES["DDPStrategy"], "lightning.pytorch.strategies.DDPStrategy")
    instead = _in_config("DDPStrategy")


class FSDPStrategy(DDPStrategy):
    """One process a device, the model in shards."""

    stands_for = (STRATEGIES["FSDPStrategy"], "lightning.pytorch.strategies.FSDPStrategy")
    instead = _in_config("FSDPStrategy")


class DeepSpeedStrategy(BaseStrategy):
    """The DeepSpeed engine; for `mm2pl`, Lightning's."""

    stands_for = (STRATEGIES["DeepSpeedStrategy"],)
    instead = _in_config("DeepSpeedStrategy")


class MMDeepSpeedEngineWrapper(metaclass=_Replaced):
    """What MMEngine's DeepSpeedStrategy makes of the model."""

    instead = _in_config("DeepSpeedStrategy")


_NO_COLOSSALAI = (
    "Lightning has none for ColossalAI; "
    "strategy=dict(type='DeepSpeedStrategy') or dict(type='FSDPStrategy') shards a model too"
)


class ColossalAIStrategy(BaseStrategy):
    """ColossalAI's engine, which Lightning has no strategy for."""

    stands_for = ()
    instead = _NO_COLOSSALAI


class ColossalAIOptimWrapper(metaclass=_Replaced):
    """The optimizer wrapper of ColossalAI's engine."""

    instead = _NO_COLOSSALAI


class ColossalAIModelWrapper(metaclass=_Replaced):
    """What MMEngine's ColossalAIStrategy makes of the model."""

    instead = _NO_COLOSSALAI
