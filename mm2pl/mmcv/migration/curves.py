"""Learning rates over a run, as MMCV 1.x set them and as the migrated config does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm2pl.mmcv.migration.policies import parse_schedule
from mm2pl.mmcv.migration.report import Status
from mm2pl.mmcv.migration.schedule import closed_form
from mm2pl.mmcv.migration.state import State

_LONGEST_EPOCHS = 20_000  # iterations; the length of an epoch is not in the config
# Enough for the width of the chart.
_POINTS = 400


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Values at some iterations of a run.

    Args:
        iters: The iterations.
        old: MMCV's learning rates there; None if its schedule is not known here.
        new: Those of the migrated config.
        epoch_length: Iterations per epoch that were assumed.
    """

    iters: list[int]
    old: list[float] | None
    new: list[float]
    epoch_length: int

    @property
    def deviation(self) -> float | None:
        """The largest relative difference; None without an old curve."""
        if self.old is None:
            return None
        # The floor is for rates that reach 0, where equal values must give 0.
        return max(abs(o - n) / max(abs(o), 1e-30) for o, n in zip(self.old, self.new, strict=True))


def learning_rates(old: Mapping[str, Any], new: Mapping[str, Any]) -> Curves | None:
    """Return both curves of a migrated config; None if it has no schedule, no lr or no length."""
    from mm2pl.optim import simulate

    state = State(old, None)
    optimizer = old.get("optimizer")
    base = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    # Several optimizers have several rates; the page shows one curve.
    if not isinstance(base, int | float) or not state.length or "lr_config" not in old:
        return None
    by_epoch = not state.by_iteration
    # Short runs get long epochs, so that a warm-up of some hundred iterations is visible.
    epoch_length = max(20, _LONGEST_EPOCHS // state.length) if by_epoch else 1
    total = state.length * epoch_length
    curve = simulate(
        new.get("param_scheduler"), base, total, epoch_length=epoch_length, by_epoch=by_epoch
    )
    # The first 50 in any case, where warm-ups differ most, and the last one, where the end value is reached or not.
    iters = sorted({*range(0, total, max(1, total // _POINTS)), *range(min(50, total)), total - 1})
    return Curves(
        iters=iters,
        old=_mmcv(state, base, iters, epoch_length),
        new=[curve[i] for i in iters],
        epoch_length=epoch_length,
    )


def _mmcv(state: State, base: float, iters: list[int], epoch_length: int) -> list[float] | None:
    """Return MMCV's values by its own formulas."""
    from mm2pl.mmcv.schedules import MMCVLR
    from mm2pl.optim.simulate import Groups

    schedule = parse_schedule(state, "lr_config")
    # MMCV's curve is unknown where the migration itself has given up.
    if schedule is None or any(e.status is Status.NEEDS_YOU for e in state.entries):
        return None
    # MMCV 1.7.2 never calls such a schedule: the rate stays what the optimizer has.
    if not schedule.run_by_epoch and schedule.by_epoch:
        return [base] * len(iters)
    config = closed_form(schedule)
    config.pop("type")
    groups: Any = Groups([{"lr": base}])
    convert = config.pop("convert_to_iter_based", False)
    stride = 1
    if convert:
        scheduler = MMCVLR.build_iter_from_epoch(groups, **config, epoch_length=epoch_length)
    else:
        scheduler = MMCVLR(groups, **config)
        stride = epoch_length if config["by_epoch"] else 1
    values = []
    for i in iters:
        # The closed form depends on the step alone, so nothing in between has to be run.
        scheduler.last_step = i // stride
        values.append(scheduler._get_value()[0])
    return values
