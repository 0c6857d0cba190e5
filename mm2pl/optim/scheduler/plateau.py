"""Reduce a value when a metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.logging import print_log
from mm2pl.optim.scheduler.base import INF, _ParamScheduler, check_optimizer, per_group
from mm2pl.registry import PARAM_SCHEDULERS
from mm2pl.utils.numbers import number_of

if TYPE_CHECKING:
    from mm2pl.optim.optimizer.base import OptimizerType

_IS_BETTER = {
    ("less", "rel"): lambda a, best, threshold: a < best * (1.0 - threshold),
    ("less", "abs"): lambda a, best, threshold: a < best - threshold,
    ("greater", "rel"): lambda a, best, threshold: a > best * (threshold + 1.0),
    ("greater", "abs"): lambda a, best, threshold: a > best + threshold,
}
# MMEngine's 1e9, not infinity: a loss above it never counts as an improvement.
_WORST = {"less": INF, "greater": -INF}


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauParamScheduler(_ParamScheduler):
    """Multiply by ``factor`` once a metric has not improved in more than ``patience`` validations.

    `step(metrics)` is called after each validation, `step()` after each epoch; the latter only
    counts epochs, for ``begin`` and ``end``.

    Args:
        optimizer: What has the param groups.
        param_name: The entry to reduce.
        monitor: The key in the metrics.
        rule: ``'less'`` or ``'greater'``: which way the metric improves.
        factor: Below 1.
        patience: Validations without improvement that are tolerated.
        threshold: By how much a metric must be better to count, at least 0.
        threshold_rule: ``'rel'``: as a fraction of the best metric; ``'abs'``: as a difference.
        cooldown: Validations after a reduction in which nothing is counted.
        min_value: The lower bound; one number, or one per group.
        eps: Smaller reductions than this are not made.
        begin: As in every scheduler, like the arguments after it.
        end: See ``begin``.
        last_step: See ``begin``.
        by_epoch: Must be true.
        verbose: See ``begin``.

    Raises:
        ArgumentError: ``by_epoch`` is false.
    """

    need_val_args = True

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        monitor: str = "loss",
        rule: str = "less",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_rule: str = "rel",
        cooldown: int = 0,
        min_value: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if not by_epoch:
            raise ArgumentError(f"by_epoch={by_epoch!r}: {type(self).__name__} only counts epochs.")
        _check(factor, threshold, rule, threshold_rule)
        self._attach(optimizer, param_name, begin, end, last_step, by_epoch, verbose)
        # Not `_ParamScheduler.__init__`, whose first step would apply a schedule: there is no metric yet.
        self._global_step = 0
        self.factor = factor
        self.min_values = _minima(min_value, optimizer)
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.monitor = monitor
        self.rule = rule
        self.threshold = threshold
        self.threshold_rule = threshold_rule
        self.rule_worse = _WORST[rule]
        self.best: Any = None
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._reset()
        self._note_values()

    def step(self, metrics: dict[str, Any] | None = None) -> None:
        """Count an epoch, or judge the metrics of a validation.

        Raises:
            TypeError: ``metrics`` is not a dict, or ``monitor`` in it is not one number.
            KeyError: ``metrics`` has no ``monitor``, or it is None.
        """
        if metrics is None:
            # MMEngine's hook calls without metrics after each training epoch, and with them after a validation.
            self._global_step += 1
            return
        if not isinstance(metrics, dict):
            raise ArgumentError(f"metrics={metrics!r} must be a dict from names to values.")
        if self.begin <= self._global_step < self.end:
            self.last_step += 1
            self._judge(self._monitored(metrics))
        self._note_values()

    def _monitored(self, metrics: dict[str, Any]) -> Any:
        metric = metrics.get(self.monitor)
        if metric is None and self.monitor in metrics:
            raise ReadableKeyError(
                f"metric {self.monitor!r} is None → {type(self).__name__} needs a number in every validation"
            )
        if metric is None:
            hint = did_you_mean(closest(self.monitor, metrics, 1))
            raise ReadableKeyError(
                f"monitor={self.monitor!r} is not among the metrics {list(metrics)}.{hint}"
            )
        # MMEngine 0.10.7 compares a tensor or array of one element too, of any dimension.
        if math.prod(getattr(metric, "shape", (0,))) != 1:
            number_of(self.monitor, metric)
        return metric

    def _judge(self, metric: Any) -> None:
        if self._is_better(metric, self.best):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        # After the judgement: a better metric still becomes the best one, as in torch's ReduceLROnPlateau.
        if self._in_cooldown():
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        for index, (group, value) in enumerate(zip(groups, self._get_value(), strict=False)):
            # Not for a minimum that is reached already, which would be logged as a change at every validation.
            if group[self.param_name] - value > self.eps:
                group[self.param_name] = value
                self.print_value(self.verbose, index, value)

    def _get_value(self) -> list[float]:
        # torch's optimizers also take a tensor as lr; from here on it is a number, as in MMEngine.
        values = [
            float(group[self.param_name]) * self.factor for group in self.optimizer.param_groups
        ]
        return [max(value, low) for value, low in zip(values, self.min_values, strict=False)]

    def _note_values(self) -> None:
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

    def print_value(self, is_verbose: bool, group: int, value: float) -> None:
        """Log the new value of the group with that index."""
        if is_verbose:
            print_log(
                f"Adjusting parameter value of group {group} to {value:.4e} "
                f"in epoch {self.last_step}.",
                logger="current",
            )

    def _in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def _is_better(self, a: Any, best: Any) -> bool:
        return bool(_IS_BETTER[self.rule, self.threshold_rule](a, best, self.threshold))

    def _reset(self) -> None:
        self.best = self.rule_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0


def _check(factor: float, threshold: float, rule: str, threshold_rule: str) -> None:
    if factor >= 1.0:
        raise ArgumentError(f"factor={factor!r} must be below 1.")
    if threshold < 0:
        raise ArgumentError(f"threshold={threshold!r} must be 0 or larger.")
    if rule not in _WORST:
        raise ArgumentError(f"rule={rule!r} must be 'less' or 'greater'.")
    if threshold_rule not in ("rel", "abs"):
        raise ArgumentError(f"threshold_rule={threshold_rule!r} must be 'rel' or 'abs'.")


def _minima(min_value: float | Sequence[float], optimizer: Any) -> list[float]:
    groups = getattr(optimizer, "optimizer", optimizer).param_groups
    minima = per_group("min_value", min_value, len(groups))
    # A wrapper of several groups has one more, with the base values: the last bound is its own.
    return minima + minima[-1:] if len(optimizer.param_groups) > len(groups) else minima
