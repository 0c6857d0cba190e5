"""Stand-ins for what OpenMMLab's checkpoints pickle next to tensors, so that ``weights_only=True`` reads them.

MMEngine 0.x pickles ``HistoryBuffer``, ``ConfigDict``, functions of its schedulers, numpy scalars and arrays; MMCV 1.x
``ConfigDict`` and numpy. None of these classes is imported to read such a file: each name is answered by a small class
here that only stores the pickled data, and :func:`replace_stand_ins` turns the result into plain Python, numpy and
:class:`mm2pl.logging.HistoryBuffer`. Nothing of the file is ever called.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import torch

from mm2pl.logging import HistoryBuffer

# torch has one allow-list for the process: a second thread would clear it while the first one reads.
_LOCK = threading.RLock()
_MARK = "__mm2pl_plain_dict__"
_NUMERIC = re.compile(r"[biufcSU]\d+$")


class ForbiddenError(Exception):
    """What a file asks for and may not have; the text continues "the file pickles …"."""


class NameOnly:
    """A class or function that a pickle names as a value; it is dropped, never called."""


class PickledDict:
    """Answer for dict subclasses: creates an ``OrderedDict``, the type torch's unpickler lets a file fill."""

    def __new__(cls, *args: Any) -> Any:
        """Return a dict, marked for :func:`replace_stand_ins`; a ``defaultdict``'s factory is dropped."""
        made: OrderedDict[Any, Any] = OrderedDict(
            args[0] if args and isinstance(args[0], dict) else {}
        )
        made.__dict__[_MARK] = True
        return made


class PickledList:
    """Answer for list-like classes (``collections.deque``)."""

    def __new__(cls, items: Iterable[Any] = (), *args: Any) -> Any:
        """Return a list; a deque's length limit is dropped."""
        return list(items)


class PickledText:
    """Answer for classes whose arguments are parts of a text (``TorchVersion``, ``PosixPath``)."""

    def __new__(cls, *parts: Any) -> Any:
        """Join path parts; a single part is the text itself."""
        text = "/".join(str(part) for part in parts)
        return "/" + text.lstrip("/") if parts and parts[0] == "/" else text


class PickledState:
    """Keep the attributes of an object in ``__dict__``."""


class PickledBuffer(PickledState):
    """Attributes of a ``HistoryBuffer``."""


class PickledHub(PickledState):
    """Attributes of a whole ``MessageHub``, which MMEngine before 0.2 pickled."""


class PickledConfig(PickledState):
    """A whole ``Config``: only its values are kept, not its file name and text."""

    def __setstate__(self, state: tuple[Any, ...] | dict[str, Any]) -> None:
        self.values = state[0] if isinstance(state, tuple) else state.get("_cfg_dict", {})


class PickledDtype:
    """A numpy dtype: its name, and the byte order that the file sets afterwards."""

    def __init__(self, name: str, *flags: Any) -> None:
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # NumPy writes `|` where there is no order, for single bytes and objects.
        self.order = state[1] if state[1] in ("<", ">") else "="

    def build(self) -> np.dtype:
        """Return the dtype.

        Raises:
            ForbiddenError: If it is neither a number, a string nor an object.
        """
        if self.name in ("O", "O8"):
            return np.dtype(object)
        if not _NUMERIC.match(str(self.name)):
            raise ForbiddenError(f"an array of numpy dtype {self.name!r}")
        return np.dtype(self.order + self.name)


class PickledArray:
    """A numpy array: shape, dtype and bytes."""

    shape: tuple[int, ...]
    dtype: PickledDtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def build(self) -> np.ndarray:
        """Return the array, writable."""
        dtype = self.dtype.build()
        if dtype.hasobject:
            flat = np.empty(len(self.data), dtype=object)
            flat[:] = replace_stand_ins(self.data)
        else:
            # A copy, since `frombuffer` gives a read-only view of the bytes.
            flat = (
                np.fromiter((), dtype)
                if not self.data
                else np.frombuffer(_bytes(self.data), dtype).copy()
            )
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _reconstruct(subtype: type[PickledArray], shape: object, typecode: object) -> PickledArray:
    # NumPy pickles an empty array; shape, dtype and bytes follow as its state.
    return subtype()


def _scalar(dtype: PickledDtype, data: str | bytes = b"") -> Any:
    return np.frombuffer(_bytes(data), dtype.build())[0]


def _frozenset(items: Iterable[Any] = ()) -> frozenset[Any]:
    return frozenset(items)


def _no_bytes(*args: Any) -> bytes:
    """Return what protocol 2 writes for ``b""``."""
    if args:
        raise ForbiddenError("a call of bytes")
    return b""


def _attribute(owner: object, name: str) -> NameOnly:
    if not (isinstance(owner, type) and issubclass(owner, (PickledState, NameOnly))):
        raise ForbiddenError(f"getattr({owner!r}, {name!r})")
    return NameOnly()


def _stand_ins() -> dict[str, Callable[..., Any]]:
    """List every answered name; each gets an object of its own, which torch finds by ``module.qualname``."""
    names: dict[str, Any] = {
        # How pickle's protocol 2 names a method of a class: MMEngine's OneCycle schedules save one of theirs.
        "builtins.getattr": _attribute,
        "collections.defaultdict": PickledDict,
        "collections.deque": PickledList,
        "builtins.frozenset": _frozenset,
        "builtins.bytes": _no_bytes,
        "torch.torch_version.TorchVersion": PickledText,
        "numpy.dtype": PickledDtype,
        "numpy.ndarray": PickledArray,
        "mmengine.logging.message_hub.MessageHub": PickledHub,
        "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler": NameOnly,
    }
    names |= {f"builtins.{name}": NameOnly for name in ("list", "dict", "int", "float", "str")}
    names |= {
        f"{module}.{name}": PickledText
        # Python 3.13 keeps its classes in the second, and its files say so.
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath")
    }
    names |= {
        f"{root}.multiarray.{name}": function
        # The second since NumPy 2, and so in the files that it writes.
        for root in ("numpy.core", "numpy._core")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    }
    names |= {
        f"{module}.HistoryBuffer": PickledBuffer
        for module in ("mmengine.logging.history_buffer", "mm2pl.logging.history_buffer")
    }
    names |= {
        f"{module}.Config": PickledConfig
        for module in ("mmengine.config.config", "mmcv.utils.config")
    }
    names |= dict.fromkeys(
        (
            "addict.addict.Dict",
            "addict.Dict",
            "mmcv.utils.config.ConfigDict",
            "mmengine.config.config.ConfigDict",
            "mm2pl.config.config_dict.ConfigDict",
        ),
        PickledDict,
    )
    return {name: _renamed(answer, name) for name, answer in names.items()}


def _renamed(answer: Callable[..., Any], name: str) -> Any:
    module, _, qualname = name.rpartition(".")
    own_name = {"__module__": module, "__qualname__": qualname, "__name__": qualname}
    if isinstance(answer, type):
        return type(qualname, (answer,), {k: v for k, v in own_name.items() if k != "__name__"})

    def function(*args: Any) -> Any:
        return answer(*args)

    for attribute, value in own_name.items():
        setattr(function, attribute, value)
    return function


STAND_INS = _stand_ins()


@contextmanager
def stand_ins_allowed() -> Iterator[None]:
    """Add the stand-ins to torch's allow-list for as long as the block runs; the user's own entries stay."""
    allow, clear = torch.serialization.add_safe_globals, torch.serialization.clear_safe_globals
    with _LOCK:
        known = torch.serialization.get_safe_globals()
        clear()
        # The allow-list is a set: of two entries with one name, either could answer.
        allow([entry for entry in known if _name_of(entry) not in STAND_INS])
        allow(list(STAND_INS.values()))
        try:
            yield
        finally:
            clear()
            allow(known)


def _name_of(entry: Callable[..., Any] | tuple[Callable[..., Any], str]) -> str:
    return entry[1] if isinstance(entry, tuple) else f"{entry.__module__}.{entry.__qualname__}"


class _TrustingUnpickler(pickle.Unpickler):
    """Import what a file names, but OpenMMLab's classes, which have their stand-ins here too."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function by its name in the file."""
        if f"{module}.{name}" in ("builtins.getattr", "__builtin__.getattr"):
            return _trusted_attribute
        if module.partition(".")[0] in ("mmengine", "mmcv", "addict", "mm2pl"):
            return STAND_INS.get(f"{module}.{name}") or super().find_class(module, name)
        return super().find_class(module, name)


def _trusted_attribute(owner: object, name: str) -> Any:
    ours = isinstance(owner, type) and issubclass(owner, (PickledState, NameOnly))
    return NameOnly() if ours else getattr(owner, name)


def _load_any(file: IO[bytes], **kwargs: Any) -> Any:
    return _TrustingUnpickler(file, **kwargs).load()


#: A ``pickle_module`` for ``torch.load(weights_only=False)``.
TRUSTING_PICKLE = SimpleNamespace(
    __name__="mm2pl.checkpoint.unpickle", Unpickler=_TrustingUnpickler, load=_load_any
)


def replace_stand_ins(value: Any, memo: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """Replace stand-ins by what they stand for, in place where the container can be changed.

    Dict entries that hold a :class:`NameOnly` are removed. Shared and cyclic references stay shared.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][1]
    kind = type(value)
    if kind in (OrderedDict, dict):
        return _replace_in_dict(value, memo)
    if kind is list:
        memo[id(value)] = value, value
        value[:] = [replace_stand_ins(item, memo) for item in value]
        return value
    made = value
    if kind is tuple:
        items = [replace_stand_ins(item, memo) for item in value]
        if any(a is not b for a, b in zip(items, value, strict=True)):
            made = tuple(items)
    elif isinstance(value, (PickledDtype, PickledArray)):
        made = value.build()
    elif isinstance(value, PickledState):
        made = _replace_state(value, memo)
    if made is not value or kind is tuple:
        # Also of a tuple that stays as it is: a chain of shared ones would be walked 2**n times. The memo keeps
        # ``value`` alive, so that its id stays its own.
        memo[id(value)] = value, made
    return made


def _replace_in_dict(value: dict[Any, Any], memo: dict[int, tuple[Any, Any]]) -> dict[Any, Any]:
    plain = isinstance(value, OrderedDict) and vars(value).pop(_MARK, False)
    made: dict[Any, Any] = {} if plain else value
    memo[id(value)] = value, made
    for key, item in list(value.items()):
        if isinstance(item, NameOnly) or (isinstance(item, type) and issubclass(item, NameOnly)):
            del value[key]
        else:
            made[key] = replace_stand_ins(item, memo)
    return made


def _replace_state(value: PickledState, memo: dict[int, tuple[Any, Any]]) -> Any:
    state = replace_stand_ins(dict(vars(value)), memo)
    if isinstance(value, PickledConfig):
        return state["values"]
    if isinstance(value, PickledHub):
        keys = ("log_scalars", "runtime_info", "resumed_keys")
        return {key: state.get(f"_{key}", {}) for key in keys}
    # An attribute that is missing has the default of MMEngine's HistoryBuffer.
    return HistoryBuffer(
        state.get("_log_history", ()),
        state.get("_count_history", ()),
        int(state.get("max_length", 1000000)),
    )
