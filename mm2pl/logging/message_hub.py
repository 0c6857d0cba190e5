"""Where hooks, loops and models leave numbers and facts for each other."""

from __future__ import annotations

import copy
import logging
import sys
from collections import OrderedDict
from typing import Any

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.logging.history_buffer import HistoryBuffer, Pending
from mm2pl.logging.logger import print_log
from mm2pl.manager import ManagerMixin


class MessageHub(ManagerMixin):
    """Keep scalars with their history, and named facts; `mmengine.logging.MessageHub`.

    Values of scalars may be tensors on a device. They stay there until somebody asks for a
    statistic of any scalar; then all are fetched together.

    Args:
        name: The instance's name.
        log_scalars: First scalars, as `HistoryBuffer`s.
        runtime_info: First facts.
        resumed_keys: For keys of those two: whether :meth:`state_dict` holds them.

    Raises:
        ArgumentError: A scalar is not a HistoryBuffer, or ``resumed_keys`` names what is not there.

    Example:
        >>> hub = MessageHub("doctest")
        >>> hub.update_scalars({"loss": 0.5, "acc": {"value": 3, "count": 4}})
        >>> float(hub.get_scalar("acc").mean())
        0.75
    """

    def __init__(
        self,
        name: str,
        log_scalars: dict[str, HistoryBuffer] | None = None,
        runtime_info: dict[str, Any] | None = None,
        resumed_keys: dict[str, bool] | None = None,
    ) -> None:
        super().__init__(name)
        self._pending = Pending()
        self._log_scalars = _ordered("log_scalars", log_scalars)
        self._runtime_info = _ordered("runtime_info", runtime_info)
        self._resumed_keys = _ordered("resumed_keys", resumed_keys)
        for value in self._log_scalars.values():
            if not isinstance(value, HistoryBuffer):
                raise ArgumentError(
                    f"The type of log_scalars'value must be HistoryBuffer, but got {type(value)}"
                )
        unknown = self._resumed_keys.keys() - self._log_scalars.keys() - self._runtime_info.keys()
        if unknown:
            raise ArgumentError(
                "Key in `resumed_keys` must contained in `log_scalars` or `runtime_info`, "
                f"but got {sorted(unknown)}"
            )

    @classmethod
    def get_current_instance(cls) -> MessageHub:
        """Return the hub created last; one called ``'mmengine'`` if there is none."""
        if not cls._instance_dict:
            cls.get_instance("mmengine")
        return super().get_current_instance()

    @property
    def log_scalars(self) -> OrderedDict[str, HistoryBuffer]:
        """All scalars; not a copy."""
        return self._log_scalars

    @property
    def runtime_info(self) -> OrderedDict[str, Any]:
        """All facts; not a copy."""
        return self._runtime_info

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        """Append ``value`` (number, array or tensor of one element) to the scalar ``key``.

        ``count`` is how many samples the value stands for, in a mean. ``resumed`` tells whether a checkpoint keeps it.

        Raises:
            ArgumentError: ``value`` has more elements, ``count`` is not an int, or ``resumed`` is not
                what it was for this key.
        """
        try:
            known, buffer = self._resumed_keys[key], self._log_scalars[key]
        except KeyError:
            known, buffer = self._resumed_keys.setdefault(key, resumed), self._log_scalars.get(key)
        if known != resumed:
            raise self._changed_resumed(key, resumed)
        if type(count) is not int and not isinstance(count, int):
            raise ArgumentError(f"The type of count must be int. but got {type(count)}: {count}")
        if type(value) is not float:
            value = _one_number(key, value)
        if buffer is not None:
            buffer.update(value, count)
        elif isinstance(value, (int, float)):
            # The first value is given at once, so that it decides the type: integers stay such, as in MMEngine 0.10.7.
            self._adopt(key, HistoryBuffer([value], [count]))
        else:
            self._adopt(key, HistoryBuffer())
            self._log_scalars[key].update(value, count)

    def _adopt(self, key: str, buffer: HistoryBuffer) -> None:
        buffer._pending = self._pending
        self._log_scalars[key] = buffer

    def _changed_resumed(self, key: str, resumed: bool) -> ArgumentError:
        return ArgumentError(
            f"{key} used to be {self._resumed_keys[key]}, but got {resumed} now. "
            "resumed keys cannot be modified repeatedly."
        )

    def update_scalars(self, log_dict: dict[str, Any], resumed: bool = True) -> None:
        """Append to several scalars; a value may be ``dict(value=…, count=…)``.

        ``resumed``: see :meth:`update_scalar`.

        Raises:
            ArgumentError: ``log_dict`` is not a dict, or a value of it is not a number or has none.
        """
        if not isinstance(log_dict, dict):
            raise ArgumentError(f"`log_dict` must be a dict!, but got {type(log_dict)}")
        for name, value in log_dict.items():
            if not isinstance(value, dict):
                self.update_scalar(name, value, 1, resumed)
                continue
            if "value" not in value:
                raise ArgumentError(f"value must be defined in {value}, given for {name!r}")
            count = _one_number(name, value.get("count", 1))
            # A value may wait on the device, but whether its count is a number must be known now.
            count = count if isinstance(count, (int, float)) else count.item()
            self.update_scalar(name, value["value"], count, resumed)  # type: ignore[arg-type]

    def update_info(self, key: str, value: Any, resumed: bool = True) -> None:
        """Set the fact ``key`` to ``value``; ``resumed`` tells whether a checkpoint keeps it.

        Raises:
            ArgumentError: ``resumed`` is not what it was before.
        """
        try:
            known = self._resumed_keys[key]
        except KeyError:
            known = self._resumed_keys[key] = resumed
        if known != resumed:
            raise self._changed_resumed(key, resumed)
        self._runtime_info[key] = value

    def update_info_dict(self, info_dict: dict[str, Any], resumed: bool = True) -> None:
        """Set several facts.

        Raises:
            ArgumentError: ``info_dict`` is not a dict, or ``resumed`` is not what it was before.
        """
        if not isinstance(info_dict, dict):
            raise ArgumentError(f"`info_dict` must be a dict!, but got {type(info_dict)}")
        for key, value in info_dict.items():
            self.update_info(key, value, resumed)

    def pop_info(self, key: str, default: Any = None) -> Any:
        """Remove and return the fact ``key``, or return ``default``."""
        # MMEngine 0.10.7 leaves it among the resumed keys, and warns of each without a value when it reads the file.
        self._resumed_keys.pop(key, None)
        return self._runtime_info.pop(key, default)

    def get_scalar(self, key: str) -> HistoryBuffer:
        """Return the history of ``key``; not a copy.

        Raises:
            ReadableKeyError: There is none.
        """
        if key not in self._log_scalars:
            raise ReadableKeyError(
                f"{key} is not found in Messagehub.log_buffers: instance name is: "
                f"{self.instance_name}, which has {', '.join(self._log_scalars) or 'no scalars'}."
            )
        return self._log_scalars[key]

    def get_info(self, key: str, default: Any = None) -> Any:
        """Return the fact ``key``, not a copy of it, or ``default``."""
        return self._runtime_info.get(key, default)

    def state_dict(self) -> dict[str, Any]:
        """Return what is to be resumed, as plain data that ``weights_only=True`` loads.

        ``log_scalars`` maps to ``dict(log_history=Tensor (N,), count_history=Tensor (N,),
        max_length=int)``; MMEngine, which wants its own class there, skips them with a message.
        A fact that is not plain data is left out with a message. Facts that are arrays have become tensors, and
        ``arrays`` says where; MMEngine, which ignores that key, reads the tensors.
        """
        import torch

        # storable imports torch, which takes seconds. Importing this file must not.
        from mm2pl.logging.storable import NotStorableError, to_storable

        scalars = {}
        for key, buffer in self._log_scalars.items():
            if self._resumed_keys.get(key, False):
                values, counts = (torch.from_numpy(a.copy()) for a in buffer.data)
                scalars[key] = {
                    "log_history": values,
                    "count_history": counts,
                    "max_length": buffer.max_length,
                }
        info, arrays = {}, []
        for key, value in self._runtime_info.items():
            if self._resumed_keys.get(key, False):
                try:
                    info[key], places = to_storable(value, copy=True)
                except NotStorableError as error:
                    _warn(f"{key} in message_hub is not saved: it holds a {error}.")
                else:
                    arrays += [(key, *place) for place in places]
        state = {
            "log_scalars": scalars,
            "runtime_info": info,
            "resumed_keys": dict(self._resumed_keys),
        }
        return {**state, "arrays": arrays} if arrays else state

    def load_state_dict(self, state_dict: dict[str, Any] | MessageHub) -> None:
        """Take over what :meth:`state_dict` returned (MMEngine's too), or all of another hub.

        Raises:
            ArgumentError: The state lacks one of its three keys.
        """
        if not isinstance(state_dict, dict):
            self._log_scalars = OrderedDict()
            for key, buffer in copy.deepcopy(state_dict._log_scalars).items():
                self._adopt(key, _as_buffer(buffer) or buffer)
            self._runtime_info = copy.deepcopy(state_dict._runtime_info)
            self._resumed_keys = copy.deepcopy(state_dict._resumed_keys)
            return
        for key in ("log_scalars", "runtime_info", "resumed_keys"):
            if key not in state_dict:
                raise ArgumentError(
                    f"The loaded `state_dict` of `MessageHub` must contain key: `{key}`, "
                    f"but it has {list(state_dict)}"
                )
        for key, value in state_dict["log_scalars"].items():
            if (buffer := _as_buffer(value)) is None:
                _warn(f"{key} in message_hub is not HistoryBuffer, just skip resuming it.")
            else:
                self._adopt(key, buffer)
        self._runtime_info.update(_facts(state_dict))
        self._load_resumed_keys(state_dict["resumed_keys"])

    def _load_resumed_keys(self, resumed_keys: dict[str, bool]) -> None:
        for key, value in resumed_keys.items():
            if key not in self._log_scalars and key not in self._runtime_info:
                # MMEngine 0.10.7 warns, though every key that was not to be saved is such a key.
                continue
            if not value:
                _warn(
                    f"Although resumed key: {key} is False, {key} will still be loaded this time. "
                    "This key will not be saved by the next calling of `MessageHub.state_dict()`"
                )
            self._resumed_keys[key] = value


def share_with_mmengine(hub: MessageHub) -> None:
    """Make ``hub``'s scalars and facts those of the current hub of the real MMEngine, if that is imported.

    Toolboxes that import MMEngine's own class read the iteration there, and leave values of theirs.
    """
    module = sys.modules.get("mmengine.logging.message_hub")
    theirs: Any = getattr(module, "MessageHub", MessageHub)
    if theirs is not MessageHub:  # as it is under the alias
        twin = theirs.get_instance(hub.instance_name)
        twin._log_scalars, twin._runtime_info = hub._log_scalars, hub._runtime_info
        twin._resumed_keys = hub._resumed_keys


def _one_number(key: str, value: Any) -> Any:
    """Return a Python number, or the tensor if it is on a device."""
    if isinstance(value, (int, float)):
        return value
    # A tensor's `size` is a method, an array's a number.
    numel = value.numel() if hasattr(value, "numel") else getattr(value, "size", None)
    if numel != 1:
        raise ArgumentError(
            f"The value of {key!r} must be a number, or an array or tensor with one element, "
            f"but got {value!r} of {type(value)}."
        )
    # An array has no is_cpu, and is at hand.
    return value if getattr(value, "is_cpu", True) is False else value.item()


def _as_buffer(value: Any) -> HistoryBuffer | None:
    """Return a buffer of our own; MMEngine's, or a stand-in for it, has the same two fields."""
    if isinstance(value, dict) and {"log_history", "count_history"} <= value.keys():
        # What our own state_dict has written; MMEngine's holds whole buffers.
        values, counts = (value[k].numpy() for k in ("log_history", "count_history"))
    elif hasattr(value, "_log_history") and hasattr(value, "_count_history"):
        values, counts = value._log_history, value._count_history
    else:
        return None
    options = value if isinstance(value, dict) else vars(value)
    buffer = HistoryBuffer.__new__(HistoryBuffer)
    buffer.__setstate__(
        {
            "_log_history": values,
            "_count_history": counts,
            "max_length": options.get("max_length", 1000000),
        }
    )
    return buffer


def _facts(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a state's facts, with the arrays that :meth:`MessageHub.state_dict` made tensors."""
    from mm2pl.logging.storable import restore_arrays

    facts = copy.deepcopy(state_dict["runtime_info"])
    restore_arrays(facts, state_dict.get("arrays", ()))
    return facts


def _ordered(name: str, value: Any) -> OrderedDict[str, Any]:
    if not (value is None or isinstance(value, dict)):
        raise TypeError(f"{name} should be a dict or `None`, but got {type(value)}")
    return OrderedDict(value or {})


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
