"""What a checkpoint keeps as a file: its arrays and scalar histories under a key of our own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.logging import HistoryBuffer
from mm2pl.logging.storable import NotStorableError, Path, restore_arrays, to_host, to_storable

if TYPE_CHECKING:
    import numpy.typing as npt

#: Top-level key under which mm2pl keeps what neither MMEngine nor Lightning knows.
OWN_KEY = "mm2pl"


def to_plain(
    checkpoint: Mapping[Any, Any], *, move: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> dict[Any, Any]:
    """Return a copy of a checkpoint with tensors on the CPU and everything else as built-in types.

    Tensors are not copied if they are on the CPU already; those that share memory still do. Numpy arrays become tensors
    (texts: lists), and :func:`from_plain` makes them arrays again. What has no plain form is left out with a warning
    that names it.

    Args:
        checkpoint: Nested mappings and sequences.
        move: Makes a copy of each tensor on the CPU, also of those that are there already.

    Example:
        >>> to_plain({"score": np.float32(0.5), "keep": {"ids": (1, np.int64(2))}})
        {'score': 0.5, 'keep': {'ids': (1, 2)}}
    """
    made, arrays = to_storable(
        _without_histories(checkpoint),
        copy=move is not None,
        move=move or to_host,
        left_out=_warn_of,
    )
    if arrays:
        made[OWN_KEY] = {**made.get(OWN_KEY, {}), "arrays": arrays}
    return made


def _warn_of(path: Path, error: NotStorableError) -> None:
    text = str(path[0]) + "".join(f"[{part!r}]" for part in path[1:])
    warnings.warn(
        f"checkpoint: {text} holds a {error}, which a file without pickled code cannot keep, so the entry is left out. "
        "Store numbers, texts, lists, dicts or tensors instead.",
        stacklevel=2,
    )


def from_plain(checkpoint: object) -> Any:
    """Undo :func:`to_plain` for numpy arrays and scalar histories, in place.

    Example:
        >>> from_plain(to_plain({"meta": {"palette": np.eye(2)}}))["meta"]["palette"].shape
        (2, 2)
    """
    if not isinstance(checkpoint, dict) or not isinstance(own := checkpoint.get(OWN_KEY), dict):
        return checkpoint
    restore_arrays(checkpoint, own.pop("arrays", ()))
    _restore_histories(checkpoint, own.pop("histories", {}))
    # What may be left there, random states for instance, is the run's to restore.
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
    # They move along: MMEngine 0.10.7 also warns of each resumed key without a value.
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


def _history(buffer: HistoryBuffer | Mapping[str, Any]) -> dict[str, Any]:
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


def _as_tensor(values: torch.Tensor | npt.ArrayLike) -> torch.Tensor:
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
