"""What a file without pickled code can hold: built-in types and tensors, which ``weights_only=True`` reads anywhere."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
import torch

Path: TypeAlias = tuple[Any, ...]
"""Keys and indices that lead to a part of nested containers."""

_BUILT_IN: tuple[Any, ...] = (bool, int, float, complex, str, bytes)
# Besides the built-in types, weights_only=True knows these of torch.
_ATOMS = (type(None), *_BUILT_IN, torch.dtype, torch.device, torch.Size)


class NotStorableError(TypeError):
    """A value that such a file cannot hold; the message is the name of its class."""


def to_host(value: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor on the CPU."""
    return value.to("cpu", copy=True)


def to_storable(
    value: Any,
    *,
    copy: bool = False,
    move: Callable[[torch.Tensor], torch.Tensor] = to_host,
    left_out: Callable[[Path, NotStorableError], None] | None = None,
) -> tuple[Any, list[Path]]:
    """Return ``value`` with tensors on the CPU and everything else as built-in types, and where arrays were.

    NumPy arrays become tensors (of texts: lists), which :func:`restore_arrays` turns back. A tensor that stands in two
    places is still one.

    Args:
        value: Nested mappings, sequences and sets.
        copy: Copy also the tensors that are on the CPU already.
        move: Makes the copies.
        left_out: Is told of each entry of a mapping that holds something else. The entry is missing in the result.

    Raises:
        NotStorableError: There is something else, and no ``left_out``.

    Example:
        >>> to_storable({"score": np.float32(0.5), "ids": (1, np.arange(2))})
        ({'score': 0.5, 'ids': (1, tensor([0, 1]))}, [('ids', 1)])
    """
    conversion = _Conversion(copy, move, left_out)
    return conversion.convert(value, ()), conversion.arrays


def restore_arrays(container: Any, paths: Iterable[Path]) -> None:
    """Turn what stands at ``paths`` into arrays again, in place; parts that were removed are passed over."""
    for path in paths:
        try:
            _restored(container, tuple(path))
        except (KeyError, IndexError, TypeError):
            continue


def _restored(container: Any, path: Path) -> Any:
    """Return ``container`` with the array at ``path`` restored; tuples on the way are made anew."""
    if not path:
        return container.numpy() if isinstance(container, torch.Tensor) else np.array(container)
    restored = _restored(container[path[0]], path[1:])
    if isinstance(container, tuple):
        return (*container[: path[0]], restored, *container[path[0] + 1 :])
    container[path[0]] = restored
    return container


class _Conversion:
    """One conversion: remembers moved tensors, so that shared ones stay shared, and where arrays stood."""

    def __init__(
        self,
        copy: bool,
        move: Callable[[torch.Tensor], torch.Tensor],
        left_out: Callable[[Path, NotStorableError], None] | None,
    ) -> None:
        self.copy = copy
        self.move = move
        self.left_out = left_out
        self.moved: dict[Any, torch.Tensor] = {}
        self.arrays: list[Path] = []
        self._known: dict[int, tuple[Any, Any]] = {}
        self._left_out = 0

    def convert(self, value: Any, path: Path) -> Any:
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        # Before the built-in types: np.float64 is a Python float too, but pickles as NumPy's.
        if isinstance(value, np.generic):
            return self.convert(value.item(), path)
        # Before them as well: an IntEnum is an int, but pickles as its class.
        if isinstance(value, enum.Enum):
            return self.convert(value.value, path)
        if isinstance(value, _ATOMS):
            return _of_built_in_type(value)
        if isinstance(value, np.ndarray):
            return self.array(value, path)
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, Mapping | Sequence):
            return self.container(value, path)
        if isinstance(value, Set):
            return {self.convert(item, path) for item in value}
        raise NotStorableError(f"{type(value).__module__}.{type(value).__qualname__}")

    def container(self, value: Any, path: Path) -> Any:
        """Convert a mapping or sequence; one that stands in many places is one there too, and is converted once."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        before = len(self.arrays), self._left_out
        made: Any
        if isinstance(value, Mapping):
            made = self.mapping(value, path)
        else:
            made = [self.convert(item, (*path, index)) for index, item in enumerate(value)]
            made = tuple(made) if isinstance(value, tuple) else made
        # Arrays in it, and what was left out, are told of each place.
        if before == (len(self.arrays), self._left_out):
            self._known[id(value)] = (
                value,
                made,
            )  # keeps ``value`` alive, so that its id stays its own
        return made

    def tensor(self, value: torch.Tensor) -> torch.Tensor:
        value = value.detach()
        # A meta tensor has no content to move.
        if value.is_meta or (value.is_cpu and not self.copy):
            return value
        # Empty tensors all have the address 0, and would otherwise be taken for one; sparse ones have none.
        addressed = value.numel() and value.layout == torch.strided
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype) if addressed else value
        if key not in self.moved:
            self.moved[key] = self.move(value)
        return self.moved[key]

    def array(self, value: np.ndarray, path: Path) -> Any:
        self.arrays.append(path)
        if value.dtype.kind not in "biufc":  # texts and objects
            return self.convert(value.tolist(), path)
        # torch takes no array of the other byte order, and none with a negative stride.
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))

    def mapping(self, value: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
        made: dict[Any, Any] = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            where = (*path, key)
            try:
                made[self.convert(key, path)] = self.convert(item, where)
            except NotStorableError as error:
                if self.left_out is None:
                    raise
                self._left_out += 1
                self.left_out(where, error)
        if hasattr(value, "_metadata"):  # versions of modules, which Module.load_state_dict reads
            made._metadata = value._metadata  # type: ignore[attr-defined]
        return made


def _of_built_in_type(value: Any) -> Any:
    """Strip subclasses such as ``TorchVersion``, which ``weights_only=True`` refuses."""
    if isinstance(value, str):
        return str.__str__(value)  # a subclass's own __str__ may say something else
    kind = next((kind for kind in _BUILT_IN if isinstance(value, kind)), type(value))
    return value if type(value) is kind else kind(value)
