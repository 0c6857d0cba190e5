"""Stop when a metric no longer improves."""

from __future__ import annotations

import warnings
from math import isfinite
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError, StateError
from mm2pl.hooks.hook import Hook
from mm2pl.registry import HOOKS
from mm2pl.run.metric_rule import RULES, WORST, infer_rule
from mm2pl.utils.numbers import number_of

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Set ``runner.train_loop.stop_training`` when a metric has reached a plateau.

    An improvement is a score that beats the best one by more than ``min_delta`` would take it back
    (``mmengine.hooks.EarlyStoppingHook``). The counter and the best score are part of the hook's
    state, so a resumed run stops where an uninterrupted one would.

    Args:
        monitor: the metric.
        rule: ``"greater"`` or ``"less"``; guessed from the name by default.
        min_delta: how much better a score has to be.
        strict: fail if a validation has no such metric, instead of warning.
        check_finite: stop when the metric is NaN or infinite.
        patience: validations without improvement before stopping.
        stopping_threshold: stop at once when the metric is better than this.

    Raises:
        ValueError: an unknown ``rule``, or none that the metric's name tells.
        ArgumentError: at the start of a run, if its loop cannot be stopped.
        RuntimeError: after a validation without the metric, or in which it is None, if ``strict``.
        TypeError: after a validation in which the metric is not one number.
    """

    priority = "LOWEST"
    rule_map = RULES

    def __init__(
        self,
        monitor: str,
        rule: str | None = None,
        min_delta: float = 0.1,
        strict: bool = False,
        check_finite: bool = True,
        patience: int = 5,
        stopping_threshold: float | None = None,
    ) -> None:
        if rule is not None and rule not in RULES:
            raise ArgumentError(f'`rule` should be either "greater" or "less", but got {rule!r}')
        self.monitor = monitor
        self.rule = rule or infer_rule(monitor)
        self.min_delta = min_delta if self.rule == "greater" else -min_delta
        self.strict = strict
        self.check_finite = check_finite
        self.patience = patience
        self.stopping_threshold = stopping_threshold
        self.wait_count = 0
        self.best_score = WORST[self.rule]

    def before_run(self, runner: RunnerLike) -> None:
        """Check that the loop can be stopped.

        Raises:
            ArgumentError: The training loop has no ``stop_training``.
        """
        if not hasattr(runner.train_loop, "stop_training"):
            raise ArgumentError(
                f"`train_loop` should contain `stop_training` variable, but {runner.train_loop!r} "
                "has none: set self.stop_training = False in its __init__"
            )

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Decide whether to stop.

        Raises:
            RuntimeError: With ``strict``, there is no such metric, or it is not finite.
        """
        metrics = metrics or {}
        if metrics.get(self.monitor) is None:
            problem = f"metric {self.monitor!r} is not available, only {list(metrics)} are"
            if self.monitor in metrics:
                problem = f"metric {self.monitor!r} is None"
            if self.strict:
                raise StateError(
                    f"Early stopping conditioned on {problem}. "
                    "Monitor one of these, or set `strict=False` in `EarlyStoppingHook`."
                )
            warnings.warn(f"Skip early stopping process since {problem}.", stacklevel=2)
            return
        stop, message = self._check_stop_condition(number_of(self.monitor, metrics[self.monitor]))
        if stop:
            runner.train_loop.stop_training = True
            runner.logger.info(message)

    def _check_stop_condition(self, score: float) -> tuple[bool, str]:
        better = self.rule_map[self.rule]
        if self.check_finite and not isfinite(score):
            return True, (
                f"Monitored metric {self.monitor} = {score} is infinite. "
                f"Previous best value was {self.best_score:.3f}."
            )
        if self.stopping_threshold is not None and better(score, self.stopping_threshold):
            self.best_score = score
            return True, (
                f"Stopping threshold reached: `{self.monitor}` = {score} is "
                f"{self.rule} than {self.stopping_threshold}."
            )
        if better(self.best_score + self.min_delta, score):
            self.wait_count += 1
            return self.wait_count >= self.patience, (
                f"the monitored metric did not improve in the last {self.wait_count} records. "
                f"best score: {self.best_score:.3f}. "
            )
        self.best_score = score
        self.wait_count = 0
        return False, ""

    def state_dict(self) -> dict[str, Any]:
        """Return the counter and the best score, for Lightning's checkpoints."""
        return {"wait_count": self.wait_count, "best_score": float(self.best_score)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the counter and the best score."""
        self.wait_count = state_dict["wait_count"]
        self.best_score = state_dict["best_score"]
