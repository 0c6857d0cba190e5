"""One checkpoint that a run goes on from: what is taken of it, and what is said about that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from mm2pl.checkpoint.alike import require_alike
from mm2pl.checkpoint.compare import FILE, HERE, block, compare, facts_of_file, schedule_lines
from mm2pl.checkpoint.fitting import Differences, take_weights
from mm2pl.checkpoint.names import OUTER
from mm2pl.checkpoint.optimizer_state import fitting_optimizers
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.optim.scheduler.matching import arguments, matches
from mm2pl.optim.scheduler.replay import Progress, replan, start_at
from mm2pl.plan.resume import Choice
from mm2pl.run.facts import groups_by_name, named_lists

_REPLAN = "resume_param_scheduler='replan' or --resume-param-scheduler replan"
_ANEW = "resume_optimizer=False or --resume-optimizer false"


class Resumption:
    """Take what fits of a checkpoint into a run, part by part, and tell what differs.

    Args:
        checkpoint: As it was read.
        choice: What is to be taken.
        steerable: Whether the run's user can choose, so that the report names the options.
    """

    def __init__(
        self, checkpoint: Mapping[str, Any], choice: Choice, *, steerable: bool = True
    ) -> None:
        self.choice = choice
        self.file = facts_of_file(checkpoint)
        self._steerable = steerable
        self._weights = Differences()
        self._states = named_lists(checkpoint.get("param_schedulers"))
        self._partners: dict[str, list[Any]] = {}
        self._initial: dict[str, list[dict[str, Any]]] = {}
        self._schedules: list[tuple[str, str, Mapping[str, Any] | None, Mapping[str, Any]]] = []
        self._left_over: list[str] = []
        self._groups: dict[str, Any] = {}
        self._replanned = False

    def take_weights(
        self,
        checkpoint: dict[str, Any],
        model: nn.Module,
        *,
        strict: bool,
        logger: logging.Logger | None,
        around: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Load the weights that fit, and leave those in the checkpoint that the model then has.

        Args:
            checkpoint: Of a file, under the names of a file.
            model: Gets the weights.
            strict: Refuse what does not fit exactly.
            logger: Told of what differs.
            around: Weights of the LightningModule around the model, under the names of a file.

        Raises:
            CheckpointError: Few of them fit, or ``strict`` and not all.
        """
        given = checkpoint["state_dict"]
        outer = {name: value for name, value in given.items() if name.startswith(OUTER)}
        inner = given
        if outer:
            inner = {name: value for name, value in given.items() if name not in outer}
        weights, self._weights = take_weights(model, inner, strict, logger)
        # A user's `on_load_checkpoint`, which comes next, may give them other names.
        left = {name: inner[name] for name in self._weights.unexpected if name in inner}
        checkpoint["state_dict"] = {**weights, **left, **_fitting(outer, around, strict, logger)}

    def take_parts(self, checkpoint: dict[str, Any]) -> None:
        """Leave in the checkpoint what Lightning is to restore; it asks for entries that a file may lack."""
        checkpoint.setdefault("lr_schedulers", [])
        if not self.choice.resume_optimizer:
            # A scaler is under the name of Lightning's plugin.
            checkpoint["optimizer_states"] = []
            for key in ("optimizer", "MixedPrecision"):
                checkpoint.pop(key, None)

    def fit_optimizers(
        self, checkpoint: dict[str, Any], wrappers: Mapping[str, Any], model: nn.Module
    ) -> None:
        """Leave in the checkpoint what the optimizers can take, before they are restored.

        Raises:
            CheckpointError: They are other optimizers.
        """
        self._groups = groups_by_name(wrappers)
        if self.choice.resume_optimizer:
            changed = [p for name, p in model.named_parameters() if name in self._weights.shapes]
            classes = self.file.get("optimizers")
            checkpoint.update(fitting_optimizers(wrappers, checkpoint, changed, classes))

    # Schedules

    def progress(self, epochs: int, iters: int, epoch_length: int | None) -> Progress:
        """Return how often the clocks have ticked: as the states in the file say, else as the run says."""
        states = [state for group in self._states.values() for state in group]
        ticks = {True: epochs, False: iters}
        ticks |= {
            bool(s.get("by_epoch", True)): s["_global_step"] for s in states if "_global_step" in s
        }
        length = self.file.get("epoch_length") or epoch_length or 0
        return Progress(epochs=ticks[True], iters=ticks[False], epoch_length=length)

    def match(self, schedules: Any) -> None:
        """Find the state of each schedule, as it was built.

        Raises:
            CheckpointError: A value in one is of another kind than the schedule's own.
        """
        for name, group in named_lists(schedules).items():
            states = self._states.get(name, [])
            own = [each.state_dict() for each in group]
            classes = self.file.get("schedules", {}).get(name)
            here = [type(each).__name__ for each in group]
            try:
                found = matches(own, states, (here, classes) if classes else None)
            except (TypeError, ValueError, RuntimeError):
                # What cannot be compared is of a kind that none of them has.
                for number, (mine, state) in enumerate(zip(own, states, strict=False)):
                    require_alike(mine, state, f"param_schedulers.{number}")
                raise
            for mine, j in zip(own, found, strict=True):
                if j is not None:
                    require_alike(mine, states[j], f"param_schedulers.{j}")
            self._partners[name] = [None if j is None else states[j] for j in found]
            self._initial[name] = [_entries_of_schedules(each) for each in _groups(group)]
            rows = zip(here, self._partners[name], own, strict=True)
            self._schedules += [
                (kind, name, state and arguments(state), arguments(mine))
                for kind, state, mine in rows
            ]
            labels = classes or [f"by its {', '.join(sorted(arguments(s)))}" for s in states]
            self._left_over += [labels[j] for j in range(len(states)) if j not in found]

    def load(self, schedules: Any, progress: Progress) -> None:
        """Give each schedule its state; one that has none goes on from the values that it finds."""
        for name, group in named_lists(schedules).items():
            for each, state in zip(group, self._partners[name], strict=True):
                if state is None:
                    start_at(each, progress)
                else:
                    each.load_state_dict(state)

    def replan(self, schedules: Any, progress: Progress, *, keep_rates: bool = False) -> None:
        """Let the schedules, built for this run's plan, stand at the progress, once the optimizer is restored.

        Args:
            schedules: As they were built; nothing has been loaded into them.
            progress: Of the run.
            keep_rates: Begin with the initial values of the checkpoint in place of this run's.
        """
        self._replanned = True
        for name, group in named_lists(schedules).items():
            initial = None if keep_rates else self._initial.get(name)
            replan(group, progress, initial, self._partners.get(name, ()))

    def has_other_length(self, here: Mapping[str, Any]) -> bool:
        """Return whether the run is longer or shorter than the one that wrote the file."""
        known = [
            (self.file[key], here[key])
            for key in ("max_epochs", "max_iters")
            if self.file.get(key) and here.get(key)
        ]
        if known:
            return any(file != own for file, own in known)
        ends = ((file, own) for _, _, file, own in self._schedules if file is not None)
        return any(file.get("end") != own.get("end") for file, own in ends)

    # The report

    def report(self, facts: Mapping[str, Any]) -> str:
        """Return what differs between the checkpoint and the run, and which of the two is used."""
        lines = []
        if self._weights:
            lines.append(f"weights: {self._weights} → what fits is taken, the rest is {HERE}")
        if self._weights.shapes and self.choice.resume_optimizer:
            lines.append("optimizer: the state of parameters of another shape begins anew")
        if not self.choice.resume_optimizer:
            lines.append(
                "optimizer: its state and its groups begin anew, as resume_optimizer=False says"
            )
        rates = HERE if not self.choice.resume_optimizer else FILE + self._hint(_ANEW)
        used = {"lr": HERE if self.choice.replans else rates, "weight_decay": rates}
        lines += compare(self.file, {**facts, "groups": self._groups}, used)
        return block([*lines, *self._schedule_lines()])

    def _hint(self, option: str) -> str:
        return f" ({option} takes {HERE})" if self._steerable else ""

    def _schedule_lines(self) -> list[str]:
        if self.choice.resume_param_scheduler is False:
            return ["schedules: begin anew, as resume_param_scheduler=False says"]
        used, new = (
            FILE + self._hint(_REPLAN),
            "it begins at the progress of the run, without a jump",
        )
        if self._replanned:
            used = new = f"{HERE}, planned from the start of the run"
        rows = [
            (f"{name}: {kind}" if name else kind, f, own) for kind, name, f, own in self._schedules
        ]
        return schedule_lines(rows, self._left_over, used, new)


def _groups(schedulers: list[Any]) -> list[dict[str, Any]]:
    return list(schedulers[0].optimizer.param_groups) if schedulers else []


def _entries_of_schedules(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what schedules have put into a group: ``initial_lr``, and OneCycle's bounds."""
    return {k: v for k, v in group.items() if k.startswith("initial_") or k in ("max_lr", "min_lr")}


def _fitting(
    given: dict[str, Any], own: Mapping[str, Any], strict: bool, logger: logging.Logger | None
) -> dict[str, Any]:
    """Return those of a LightningModule's own weights that it can take, and say what differs."""
    shapes = {
        name: f"{name} is {tuple(value.shape)} in the file and {tuple(own[name].shape)} here"
        for name, value in given.items()
        # A module's extra state may be of any kind.
        if name in own and getattr(value, "shape", None) != getattr(own[name], "shape", None)
    }
    parts = list(shapes.values())
    for what, names in (("missing", own.keys() - given), ("unexpected", given.keys() - own)):
        parts += [f"{what}: {', '.join(sorted(names))}"] if names else []
    if parts and strict:
        raise CheckpointError(f"weights of the LightningModule itself: {'; '.join(parts)}")
    if parts and logger is not None:
        logger.warning(
            f"weights of the LightningModule itself: {'; '.join(parts)} → what fits is taken, the rest stays as it is"
        )
    return {name: value for name, value in given.items() if name in own and name not in shapes}
