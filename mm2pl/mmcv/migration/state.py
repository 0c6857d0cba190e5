"""The migration while it is under way: what is left of the old config, what the new one has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.decisions import AS_SEEN, Choices, Decision, Sure
from mm2pl.mmcv.migration.report import Entry, Report, Status
from mm2pl.mmcv.migration.toolboxes import Toolbox

MISSING: Any = object()


class Part:
    """A dict of the old config, taken apart key by key; each key taken gets an entry.

    Args:
        state: Where the entries go.
        path: The dotted path of the dict in the old config; empty for the config itself.
        content: The dict; copied one level deep.
    """

    def __init__(self, state: State, path: str, content: Mapping[str, Any]) -> None:
        self.state = state
        self.path = path
        self.left = dict(content)

    def __contains__(self, key: str) -> bool:
        return key in self.left

    def peek(self, key: str, default: Any = None) -> Any:
        """Return a value without taking it."""
        return self.left.get(key, default)

    def take(
        self, key: str, target: str = "", note: str = "", write: str = "", default: Any = None
    ) -> Any:
        """Return a value and note where it goes: exactly, or with a ``note``, or if ``write``, not."""
        if key not in self.left:
            return default
        if write:
            self.needs_you(key, note, write, target)
        elif note:
            self.noted(key, target, note)
        else:
            self.exact(key, target)
        return self.left.pop(key)

    def part_of(self, key: str) -> Part:
        """Take the dict at ``key``; its keys get entries of their own."""
        value = self.left.pop(key)
        return Part(self.state, f"{self.path}.{key}" if self.path else key, value)

    def exact(self, key: str, target: str = "") -> None:
        """Note that a key is carried over as it is."""
        self._add(key, Status.EXACT, target)

    def noted(self, key: str, target: str, note: str) -> None:
        """Note that a key is carried over, and what to know about it."""
        self._add(key, Status.NOTE, target, note)

    def needs_you(self, key: str, note: str, write: str = "", target: str = "") -> None:
        """Note that a key cannot be carried over, why, and what to write instead."""
        self._add(key, Status.NEEDS_YOU, target, note, write)

    def _add(
        self, key: str, status: Status, target: str = "", note: str = "", write: str = ""
    ) -> None:
        path = f"{self.path}.{key}" if self.path and key else self.path or key
        entry = Entry(key=path, status=status, target=target, note=note, write=write)
        # One pipeline may be reached through a variable and through several data sets.
        if entry not in self.state.entries:
            self.state.entries.append(entry)

    def finish(self, note: str, target: str = "") -> dict[str, Any]:
        """Report what has not been taken as needing the user, and return it."""
        for key, value in self.left.items():
            self.needs_you(key, note, write=f"{key}={value!r}", target=target)
        return self.left


class State(Part):
    """The whole migration.

    Args:
        old: The MMCV 1.x config, resolved.
        toolbox: Whose conventions the pipelines and datasets follow; None for none that is known.
        choices: What the user has decided.
    """

    def __init__(
        self, old: Mapping[str, Any], toolbox: Toolbox | None, choices: Choices = AS_SEEN
    ) -> None:
        self.entries: list[Entry] = []
        self.decisions: list[Decision] = []
        self.choices = choices
        super().__init__(self, "", old)
        self.old = old
        self.toolbox = toolbox
        self.new: dict[str, Any] = {}
        self.rewrites: list[tuple[Any, Any]] = []
        """Old and new of what helper variables may hold: data sets and lists of transforms."""
        self.evaluation: dict[str, Any] = {}
        """What of the old ``evaluation`` is the metric's."""

    def part(self, key: str, content: Any = MISSING) -> Part:
        """Take the dict at the top-level ``key``; its keys get entries of their own."""
        value = self.left.pop(key, None)
        value = value if content is MISSING else content
        return Part(self, key, value if isinstance(value, Mapping) else {})

    def put(self, key: str, value: Any) -> None:
        """Set a key of the new config; dicts are merged into one that is already there."""
        present = self.new.get(key)
        # `evaluation` and `checkpoint_config` both write into default_hooks.
        if isinstance(present, dict) and isinstance(value, dict):
            present.update(value)
        else:
            self.new[key] = value

    def decide(self, about: str, seen: str, concluded: str, sure: Sure, otherwise: str) -> None:
        """Note a decision; once, though several data sets may lead to it."""
        decision = Decision(
            about=about, seen=seen, concluded=concluded, sure=sure, otherwise=otherwise
        )
        if decision not in self.decisions:
            self.decisions.append(decision)

    @property
    def by_iteration(self) -> bool:
        """Return whether the old run counted iterations."""
        runner = self.old.get("runner")
        if isinstance(runner, Mapping):
            # A runner of one's own has another type, but its length
            # tells. A file that inherits may give either alone.
            return "max_iters" in runner or runner.get("type") == "IterBasedRunner"
        # MMSegmentation 0.x' older form of runner=dict(type='IterBasedRunner', max_iters=…).
        return "total_iters" in self.old and "total_epochs" not in self.old

    @property
    def length(self) -> int | None:
        """Epochs or iterations of the old run; None if the config does not say."""
        runner = self.old.get("runner")
        runner = runner if isinstance(runner, Mapping) else {}
        if self.by_iteration:
            return runner.get("max_iters", self.old.get("total_iters"))
        return runner.get("max_epochs", self.old.get("total_epochs"))

    def report(self) -> Report:
        """Return the entries in the order of the old config's keys."""
        order = {key: index for index, key in enumerate(self.old)}
        entries = sorted(self.entries, key=lambda e: order.get(e.top_key, len(order)))
        return Report(tuple(entries), tuple(self.decisions))
