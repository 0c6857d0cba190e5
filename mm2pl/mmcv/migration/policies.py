"""``lr_config`` and ``momentum_config``, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm2pl.mmcv.migration.state import Part, State
from mm2pl.mmcv.policies import (
    BY_ITERATION,
    LR,
    NEEDS_LENGTH,
    POLICIES,
    WARMUP_RATIO,
    argument_of,
    defaults,
)

TARGET = "param_scheduler"

# Hooks of the toolboxes. Their formulas are not MMCV's, so the user gets the schedulers of the successor's configs.
TOOLBOX_POLICIES = {
    "YOLOX": (
        "MMDetection's own policy: quadratic warm-up, cosine, constant end",
        "param_scheduler = [dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=WARMUP_EPOCHS, "
        "convert_to_iter_based=True), dict(type='CosineAnnealingLR', eta_min=LR * MIN_LR_RATIO, "
        "begin=WARMUP_EPOCHS, T_max=MAX_EPOCHS - LAST_EPOCHS, end=MAX_EPOCHS - LAST_EPOCHS, by_epoch=True, "
        "convert_to_iter_based=True), dict(type='ConstantLR', by_epoch=True, factor=1, "
        "begin=MAX_EPOCHS - LAST_EPOCHS, end=MAX_EPOCHS)]",
    ),
    "CosineAnnealingCooldown": (
        "MMClassification's own policy: cosine, then a constant cool-down",
        "param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, "
        "end=MAX_EPOCHS - COOL_DOWN_TIME, T_max=MAX_EPOCHS - COOL_DOWN_TIME, eta_min=MIN_LR)], and the "
        "cool-down's lr, COOL_DOWN_RATIO * LR, as a scheduler of your own",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """An ``lr_config`` or ``momentum_config``, parsed.

    Args:
        suffix: ``'LR'`` or ``'Momentum'``.
        policy: A key of `mm2pl.mmcv.policies.LR`.
        args: The policy's arguments as far as they are given, under the names of its formula.
        by_epoch: What the policy counts.
        run_by_epoch: What the run counts.
        length: The run in those units; None if unknown.
        warmup: None, ``'constant'``, ``'linear'`` or ``'exp'``.
        warmup_iters: How long.
        warmup_ratio: Its first factor.
        warmup_by_epoch: Whether ``warmup_iters`` are epochs.
    """

    suffix: str
    policy: str
    args: Mapping[str, Any]
    by_epoch: bool
    run_by_epoch: bool
    length: int | None
    warmup: str | None
    warmup_iters: int
    warmup_ratio: float
    warmup_by_epoch: bool

    def value(self, argument: str) -> Any:
        """Return an argument of the policy; where it is not given, MMCV's default."""
        return self.args.get(argument, self.defaults[argument])

    @property
    def defaults(self) -> dict[str, Any]:
        """The arguments of the policy with MMCV's defaults."""
        return defaults(POLICIES[self.suffix.lower()][self.policy])


def parse_schedule(state: State, key: str) -> Schedule | None:
    """Take ``lr_config`` or ``momentum_config`` apart; None if it needs the user, who has been told."""
    suffix = "LR" if key == "lr_config" else "Momentum"
    part = state.part(key)
    policy = str(part.peek("policy", "")).removesuffix("LrUpdaterHook")
    if policy.lower() in LR:  # MMCV capitalises the first letter of 'step'
        policy = policy.lower()
    if policy not in POLICIES[suffix.lower()]:
        unknown = (f"policy {policy!r} is not MMCV's", "a scheduler with that curve")
        why, write = TOOLBOX_POLICIES.get(policy, unknown)
        part.needs_you("", why, write, TARGET)
        return None
    schedule = _parse(part, policy, suffix)
    # The hook learns the epoch's length in before_train_epoch, which never comes there.
    if not schedule.run_by_epoch and schedule.warmup_by_epoch:
        why = "MMCV 1.7.2 fails here: IterBasedRunner has no epochs to warm up for"
        part.needs_you("warmup_by_epoch", why, "warmup_iters in iterations", TARGET)
        return None
    # `total_steps` makes OneCycle independent of the run's length.
    needs_length = schedule.policy in NEEDS_LENGTH and not schedule.args.get("total_steps")
    if needs_length and schedule.length is None:
        note = "the config does not say how long the run is"
        part.needs_you("", note, "runner = dict(...)", TARGET)
        return None
    return schedule


def _parse(part: Part, policy: str, suffix: str) -> Schedule:
    state = part.state
    name = suffix.lower()
    run_by_epoch = not state.by_iteration
    # IterBasedRunner.register_training_hooks sets the default for lr_config only.
    default = False if policy in BY_ITERATION else run_by_epoch or suffix == "Momentum"
    target = TARGET
    part.take("policy", target)
    by_epoch = bool(part.take("by_epoch", target, default=default))
    common: dict[str, Any] = {
        key: part.take(key, target, default=value)
        for key, value in (
            ("warmup", None),
            ("warmup_iters", 0),
            ("warmup_ratio", WARMUP_RATIO[name]),
            ("warmup_by_epoch", False),
        )
    }
    args = {}
    known = defaults(POLICIES[name][policy])
    for key in list(part.left):
        argument = argument_of(key, name)
        if argument in known:
            args[argument] = part.take(key, target)
    part.finish(f"no argument of MMCV's policy {policy!r}", target)
    return Schedule(
        suffix=suffix,
        policy=policy,
        # None is "not given" in MMCV 1.7.2: min_lr=None next to a min_lr_ratio is valid.
        args={key: value for key, value in args.items() if value is not None},
        by_epoch=by_epoch,
        run_by_epoch=run_by_epoch,
        length=state.length,
        **common,
    )
