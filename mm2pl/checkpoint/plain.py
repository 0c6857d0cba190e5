"""Turn anything a run wants to remember into plain data and tensors, which ``weights_only=True`` reads anywhere."""

from __future__ import annotations

import enum
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from mm2pl.logging import HistoryBuffer

_ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)

#: Top-level key under which mm2pl keeps what neither MMEngine nor Lightning knows.
OWN_KEY = "mm2pl"


class _NotPlainError(Exception):
    """A value that a checkpoint cannot hold; caught at the nearest dict entry."""


class _Plainer:
    """One conversion: remembers moved tensors, so that shared ones stay shared, and where arrays stood."""

    def __init__(self) -> None:
        self.moved: dict[Any, torch.Tensor] = {}
        self.arrays: list[tuple[Any, ...]] = []

    def convert(self, value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, np.generic):
            return self.convert(value.item(), path)
        if isinstance(value, enum.Enum):
            return self.convert(value.value, path)
        if isinstance(value, _ATOMS):
            return _base_of(value)
        if isinstance(value, np.ndarray):
            return self.array(value, path)
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, Mapping):
            return self.mapping(value, path)
        if isinstance(value, Set):
            return {self.convert(item, path) for item in value}
        if isinstance(value, Sequence) or type(value).__name__ == "deque":
            made = [self.convert(item, (*path, index)) for index, item in enumerate(value)]
            return tuple(made) if isinstance(value, tuple) else made
        raise _NotPlainError(f"{type(value).__module__}.{type(value).__qualname__}")

    def tensor(self, value: torch.Tensor) -> torch.Tensor:
        value = value.detach()
        if value.device.type in ("cpu", "meta"):
            return value
        key = (
            (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else value
        )
        if key not in self.moved:
            self.moved[key] = value.cpu()
        return self.moved[key]

    def array(self, value: np.ndarray, path: tuple[Any, ...]) -> Any:
        self.arrays.append(path)
        if value.dtype.kind not in "biufc":  # texts and objects
            return self.convert(value.tolist(), path)
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))

    def mapping(self, value: Mapping[Any, Any], path: tuple[Any, ...]) -> dict[Any, Any]:
        made: dict[Any, Any] = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            where = (*path, key)
            try:
                made[self.convert(key, path)] = self.convert(item, where)
            except _NotPlainError as error:
                warnings.warn(
                    f"checkpoint: {_text(where)} holds a {error}, which a file without pickled code cannot "
                    "keep, so the entry is left out. Store numbers, texts, lists, dicts or tensors instead.",
                    stacklevel=2,
                )
        if hasattr(value, "_metadata"):  # versions of modules, which Module.load_state_dict reads
            made._metadata = value._metadata  # type: ignore[attr-defined]
        return made


def _base_of(value: Any) -> Any:
    """Strip subclasses of built-in types (``TorchVersion``, ``IntEnum`` members are gone already)."""
    bases: tuple[Any, ...] = (bool, int, float, complex, str, bytes)
    for base in bases:
        if isinstance(value, base):
            return value if type(value) is base else base(value)
    return value


def _text(path: tuple[Any, ...]) -> str:
    return str(path[0]) + "".join(f"[{part!r}]" for part in path[1:])


def to_plain(checkpoint: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy of a checkpoint with tensors on the CPU and everything else as built-in types.

    Tensors are not copied if they are on the CPU already; those that share memory still do. Numpy arrays become tensors
    (texts: lists), and :func:`from_plain` makes them arrays again. What has no plain form is left out with a warning
    that names it.

    Example:
        >>> to_plain({"score": np.float32(0.5), "keep": {"ids": (1, np.int64(2))}})
        {'score': 0.5, 'keep': {'ids': (1, 2)}}
    """
    plainer = _Plainer()
    made = plainer.convert(_without_histories(checkpoint), ())
    if plainer.arrays:
        made[OWN_KEY] = {**made.get(OWN_KEY, {}), "arrays": plainer.arrays}
    return made


def from_plain(checkpoint: Any) -> Any:
    """Undo :func:`to_plain` for numpy arrays and scalar histories, in place.

    Example:
        >>> from_plain(to_plain({"meta": {"palette": np.eye(2)}}))["meta"]["palette"].shape
        (2, 2)
    """
    own = checkpoint.get(OWN_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(own, dict):
        return checkpoint
    for path in own.pop("arrays", ()):
        try:
            _restore_array(checkpoint, tuple(path))
        except (KeyError, IndexError, TypeError):
            continue  # the part of the file that held it was removed
    _restore_histories(checkpoint, own.pop("histories", {}))
    if not own:
        del checkpoint[OWN_KEY]
    return checkpoint


def _without_histories(checkpoint: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Move a message hub's ``HistoryBuffer`` objects under mm2pl's own key.

    MMEngine 0.10.7 would warn about each of them if they stood in ``message_hub`` as plain data.
    """
    hub = checkpoint.get("message_hub")
    if not isinstance(hub, Mapping) or not hub.get("log_scalars"):
        return checkpoint
    resumed = dict(hub.get("resumed_keys", {}))
    histories = {
        name: {**_history(buffer), "resumed": resumed.pop(name, None)}
        for name, buffer in hub["log_scalars"].items()
    }
    return {
        **checkpoint,
        "message_hub": {**hub, "log_scalars": {}, "resumed_keys": resumed},
        OWN_KEY: {**checkpoint.get(OWN_KEY, {}), "histories": histories},
    }


def _history(buffer: Any) -> dict[str, Any]:
    """Take apart a ``HistoryBuffer``, or what :meth:`mm2pl.logging.MessageHub.state_dict` makes of one."""
    if isinstance(buffer, Mapping):
        log, count, length = (buffer[k] for k in ("log_history", "count_history", "max_length"))
    else:
        (log, count), length = buffer.data, buffer.max_length
    return {
        "log": _as_tensor(log),
        "count": _as_tensor(count),
        "max_length": length,
    }


def _as_tensor(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))


def _restore_histories(checkpoint: dict[Any, Any], histories: dict[str, dict[str, Any]]) -> None:
    if not histories or "message_hub" not in checkpoint:
        return
    hub = checkpoint["message_hub"]
    for name, saved in histories.items():
        hub["log_scalars"][name] = HistoryBuffer(
            saved["log"].numpy(), saved["count"].numpy(), saved["max_length"]
        )
        if saved["resumed"] is not None:
            hub["resumed_keys"][name] = saved["resumed"]


def _restore_array(container: Any, path: tuple[Any, ...]) -> Any:
    """Return ``container`` with the array at ``path`` restored; tuples on the way are made anew."""
    if not path:
        return container.numpy() if isinstance(container, torch.Tensor) else np.array(container)
    restored = _restore_array(container[path[0]], path[1:])
    if isinstance(container, tuple):
        return (*container[: path[0]], restored, *container[path[0] + 1 :])
    container[path[0]] = restored
    return container
