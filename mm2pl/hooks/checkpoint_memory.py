"""What a run's message hub remembers of one CheckpointHook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm2pl.logging import MessageHub

_NAMES = ("best_score", "best_ckpt", "keep_ckpt_ids", "outdated_ckpts", "last_ckpt")
"""MMEngine's, but for ``outdated_ckpts``; a metric may follow the first two."""


class CheckpointMemory:
    """Keep facts in the message hub, which is in every file of a run, under MMEngine's names.

    Of several hooks in one run, all but the first add their number. MMEngine 0.10.7 does not: there the second hook
    compares its scores with the first one's best, and after a resume keeps the first one's files.

    Args:
        hub: The run's.
        hook: Whose facts these are.
        hooks: All hooks of the run, in their order.
    """

    def __init__(self, hub: MessageHub, hook: object, hooks: Sequence[object]) -> None:
        self._hub = hub
        alike = [other for other in hooks if hasattr(other, "keep_ckpt_ids")]
        number = alike.index(hook) if hook in alike else 0
        self._number = f"#{number}" if number else ""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a fact."""
        return self._hub.get_info(name + self._number, default)

    def put(self, name: str, value: Any) -> None:
        """Keep a fact."""
        self._hub.update_info(name + self._number, value)

    def state_dict(self) -> dict[str, Any]:
        """Return all facts about this hook's checkpoints."""
        found = {}
        for key, value in self._hub.runtime_info.items():
            name, mark, number = key.partition("#")
            if name.startswith(_NAMES) and mark + number == self._number:
                found[name] = value
        return found

    def forget(self) -> None:
        """Begin anew: what is known is of another folder's files."""
        for name in self.state_dict():
            self._hub.pop_info(name + self._number)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state_dict` returned, also if the hook has another number now."""
        for name, value in state.items():
            self.put(name, value)
