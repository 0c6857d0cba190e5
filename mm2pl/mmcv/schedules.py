"""MMCV 1.x' schedules in closed form, for what MMEngine's chainable ones cannot express.

An `LrUpdaterHook` sets ``regular(progress, base) * warmup(iteration)`` anew in every iteration. MMEngine's
schedulers change the value that they find, so the two agree only where the policy is a mere factor: a lower
bound (``min_lr``), a warm-up counted in epochs, an exponential warm-up or a cycle need the closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mm2pl.mmcv.policies import LR, PER_GROUP, WARMUP_RATIO, WARMUPS, check_warmup, formula
from mm2pl.optim.scheduler.base import INF, _ParamScheduler
from mm2pl.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mm2pl.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mm2pl.optim.scheduler.policy import named, span_in_iterations
from mm2pl.registry import PARAM_SCHEDULERS

if TYPE_CHECKING:
    from mm2pl.optim.optimizer.base import OptimizerType


@PARAM_SCHEDULERS.register_module()
class MMCVParamScheduler(_ParamScheduler):
    """Set MMCV 1.x' ``regular(progress, base) * warmup(iteration)``; the value before does not matter.

    So it stands alone in a ``param_scheduler`` list. With ``convert_to_iter_based=True`` in a config it ticks by
    iteration, while ``length``, ``begin`` and ``end`` are given in epochs, and ``progress='epoch'`` keeps the
    regular value the same throughout an epoch. Momentum is divided by the warm-up's factor, as in MMCV.

    Args:
        optimizer: What has the param groups.
        param_name: ``'lr'`` or ``'momentum'``.
        policy: A key of `mm2pl.mmcv.policies.LR`; ``policy_args`` are the arguments of its formula (``eta_min`` and
            ``eta_min_ratio`` for MMCV's ``min_lr``, ``min_momentum`` and their ratios).
        length: The whole run, for policies that need it: epochs if ``by_epoch``, else iterations.
        progress: What the policy counts, ``'epoch'`` or ``'iter'``; default: the clock, ``by_epoch``.
        warmup: None, or a key of `mm2pl.mmcv.policies.WARMUPS`.
        warmup_iters: How long; iterations, or epochs if ``warmup_by_epoch``.
        warmup_ratio: The factor that the warm-up starts at, in (0, 1].
        warmup_by_epoch: See ``warmup_iters``.
        epoch_length: Iterations per epoch; given by `build_iter_from_epoch`.
        begin: As in every scheduler, like the arguments after it.
        end: See ``begin``.
        last_step: See ``begin``.
        by_epoch: See ``begin``.
        verbose: See ``begin``.
        policy_args: See ``policy``.

    Raises:
        ValueError: The policy needs the length of an epoch, or counts otherwise than ``by_epoch``
            says.
    """

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        policy: str,
        length: int | None = None,
        progress: str | None = None,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = WARMUP_RATIO["lr"],
        warmup_by_epoch: bool = False,
        epoch_length: int | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        **policy_args: Any,
    ) -> None:
        if policy.removesuffix("Momentum") not in LR:
            raise ValueError(f"policy={policy!r} is none of MMCV's: {', '.join(LR)}.")
        check_warmup(warmup, warmup_iters, warmup_ratio)
        # MMCV counts the warm-up in iterations even where the policy counts epochs.
        # A scheduler has one clock, so it must tick by iteration and know how many make an epoch.
        in_epochs = progress == "epoch" or warmup_by_epoch
        if epoch_length is None and (in_epochs if not by_epoch else warmup is not None):
            raise ValueError(
                f"policy={policy!r}, by_epoch={by_epoch!r}: this schedule counts epochs and iterations "
                "→ it needs the epoch's length: give convert_to_iter_based=True, and no by_epoch=False."
            )
        per_epoch = epoch_length or 1
        self.policy = policy
        self.policy_args = policy_args
        # Ticks per step of the policy: MMCV 1.7.2 sets a by-epoch value once per epoch.
        self.stride = per_epoch if progress == "epoch" else 1
        self.length = None if length is None else length * per_epoch // self.stride
        self.warmup = warmup
        self.warmup_steps = warmup_iters * (per_epoch if warmup_by_epoch else 1)
        self.warmup_ratio = warmup_ratio
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build the schedule on the iteration clock, from ``begin``, ``end`` and ``length`` in epochs.

        Raises:
            ValueError: The schedule is not by epoch, or ``epoch_length`` is not positive.
        """
        kwargs |= span_in_iterations(begin, end, by_epoch, epoch_length)
        kwargs["epoch_length"] = epoch_length  # `length` and the warm-up may still be in epochs
        return cls(*args, **kwargs)

    def _get_value(self) -> list[float]:
        t = self.last_step
        regular = formula(self.policy, self.param_name)
        length = self.length
        # A scheduler ticks after the last iteration too. Poly would take a power of a negative number there.
        step = t // self.stride if length is None else min(t // self.stride, length)
        values = [
            # From the base value, not the present one: other schedulers in the list have no effect.
            regular(step, base, length, **_of_group(group, self.policy_args))
            for group, base in enumerate(self.base_values)
        ]
        # At `warmup_iters` itself MMCV 1.7.2 sets the regular value.
        if self.warmup is None or t >= self.warmup_steps:
            return values
        factor = WARMUPS[self.warmup](t, self.warmup_steps, self.warmup_ratio)
        # MMCV 1.7.2 warms the momentum up from above.
        if self.param_name == "momentum":
            return [value / factor for value in values]
        return [value * factor for value in values]


def _of_group(group: int, args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for one param group: some may be lists with one value per group."""
    return {
        key: value[group] if key in PER_GROUP and isinstance(value, Sequence) else value
        for key, value in args.items()
    }


MMCVLR = named(LRSchedulerMixin, MMCVParamScheduler, "LR")
MMCVMomentum = named(MomentumSchedulerMixin, MMCVParamScheduler, "Momentum")
