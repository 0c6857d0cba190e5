"""A bag of annotations or predictions with two compartments: data and meta information."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import Self

from mm2pl.errors import ArgumentError

PRIVATE = ("_metainfo_fields", "_data_fields")
"""The attributes that hold the field names; they can be changed, but not replaced."""


class FieldNames(MutableSet[str]):
    """A set of names that keeps their order, so that a repr is the same in every process.

    >>> names = FieldNames(["b", "a"])
    >>> names.add("c"), names.discard("b"), list(names)
    (None, None, ['a', 'c'])
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        # MMEngine 0.10.7 has a set here, whose order differs between processes.
        self._names = dict.fromkeys(names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self._names))}}}"

    def add(self, value: str) -> None:
        """Append ``value`` unless it is there."""
        self._names[value] = None

    def discard(self, value: str) -> None:
        """Remove ``value`` if it is there."""
        self._names.pop(value, None)


def is_data_element(obj: Any) -> bool:
    """Return whether ``obj`` can do what a data element does: ours, or MMEngine's own, which toolboxes make.

    >>> is_data_element(BaseDataElement()), is_data_element({}), is_data_element(BaseDataElement)
    (True, False, False)
    """
    # Asked of the class: a class as a field's value is not an element, and a mock has any attribute one asks for.
    return hasattr(type(obj), "metainfo_keys")


def _is_tensor_like(obj: Any) -> bool:
    return isinstance(obj, torch.Tensor) or is_data_element(obj)


class BaseDataElement:
    """Hold the data and the meta information of a sample; stands for `mmengine.structures.BaseDataElement`.

    Every field is an attribute. Those set by ``metainfo`` or :meth:`set_metainfo` are meta information (copied
    deeply), all others are data, on which the tensor-like methods (``to``, ``cpu``, ``detach``, …) work. Each of those
    returns a new element. Fields keep the order in which they were set.

    A property of a subclass may keep a typed field under its name with an underscore:
    ``set_field(value, "_gt", dtype=InstanceData)``; then only ``gt`` is listed.

    Args:
        metainfo: Meta information, such as ``dict(img_shape=(480, 640))``.
        **kwargs: Data fields.

    Example:
        >>> element = BaseDataElement(metainfo=dict(img_shape=(4, 6)), labels=torch.tensor([0, 3]))
        >>> element.keys(), element.metainfo_keys(), element.all_keys()
        (['labels'], ['img_shape'], ['img_shape', 'labels'])
        >>> element.new(scores=torch.tensor([0.5])).to_dict()
        {'img_shape': (4, 6), 'scores': tensor([0.5000])}
    """

    _metainfo_fields: FieldNames
    _data_fields: FieldNames

    def __init__(self, *, metainfo: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self._metainfo_fields = FieldNames()
        self._data_fields = FieldNames()
        if metainfo is not None:
            self.set_metainfo(metainfo)
        if kwargs:
            self.set_data(kwargs)

    # Setting fields

    def set_metainfo(self, metainfo: dict[str, Any]) -> None:
        """Set or change meta information; values are copied deeply.

        Raises:
            ArgumentError: ``metainfo`` is not a dict.
        """
        if not isinstance(metainfo, dict):
            raise ArgumentError(f"metainfo should be a dict, but got {metainfo!r}")
        for name, value in copy.deepcopy(metainfo).items():
            self.set_field(name=name, value=value, field_type="metainfo", dtype=None)

    def set_data(self, data: dict[str, Any]) -> None:
        """Set or change data fields, through the properties that a subclass may have for them.

        Raises:
            ArgumentError: ``data`` is not a dict.
        """
        if not isinstance(data, dict):
            raise ArgumentError(f"data should be a dict, but got {data!r}")
        for name, value in data.items():
            setattr(self, name, value)

    def set_field(
        self,
        value: Any,
        name: str,
        dtype: type | tuple[type, ...] | None = None,
        field_type: str = "data",
    ) -> None:
        """Set one field; what a property setter of a subclass calls.

        Args:
            value: The value.
            name: The attribute.
            dtype: Accepted types; None accepts all.
            field_type: ``"data"`` or ``"metainfo"``.

        Raises:
            ArgumentError: ``value`` has another type, or ``field_type`` is neither of the two.
            AttributeError: ``name`` is a field of the other kind already.
        """
        if field_type not in ("metainfo", "data"):
            raise ArgumentError(f"field_type={field_type!r}: 'metainfo' or 'data' is accepted")
        if dtype is not None and not isinstance(value, dtype):
            raise ArgumentError(f"{value} should be a {dtype} but got {type(value)}")
        names, others, other = self._data_fields, self._metainfo_fields, "metainfo"
        if field_type == "metainfo":
            names, others, other = others, names, "data"
        if name in others:
            raise AttributeError(
                f"Cannot set {name} to be a field of {field_type} because {name} is already a {other} field: "
                f"delete it first, or choose another name."
            )
        names.add(name)
        # object's own __setattr__: InstanceData's check of the length is passed over, as in MMEngine 0.10.7.
        super().__setattr__(name, value)

    def update(self, instance: BaseDataElement) -> None:
        """Take over all fields of another element.

        Raises:
            ArgumentError: ``instance`` is not a BaseDataElement.
        """
        if not is_data_element(instance):
            raise ArgumentError(f"instance should be a BaseDataElement, but got {instance!r}")
        self.set_metainfo(dict(instance.metainfo_items()))
        self.set_data(dict(instance.items()))

    def new(self, *, metainfo: dict[str, Any] | None = None, **kwargs: Any) -> Self:
        """Return an element of the same type, with this one's meta information and data where none are given."""
        other = self.__class__()
        other.set_metainfo(dict(self.metainfo_items()) if metainfo is None else metainfo)
        # As in MMEngine 0.10.7, given data replaces all data, not only the fields of its names.
        other.set_data(kwargs or dict(self.items()))
        return other

    def clone(self) -> Self:
        """Return an element with the same data (the very same objects) and copied meta information."""
        other = self.__class__()
        other.set_metainfo(dict(self.metainfo_items()))
        other.set_data(dict(self.items()))
        return other

    # As a mapping

    def keys(self) -> list[str]:
        """Return the names of the data fields; a property stands for the private field behind it."""
        behind = {
            f"_{name}"
            for name in self._data_fields
            if isinstance(getattr(type(self), name, None), property)
        }
        return [name for name in self._data_fields if name not in behind]

    def metainfo_keys(self) -> list[str]:
        """Return the names of the meta information."""
        return list(self._metainfo_fields)

    def all_keys(self) -> list[str]:
        """Return all names, meta information first."""
        return self.metainfo_keys() + self.keys()

    def values(self) -> list[Any]:
        """Return the data."""
        return [getattr(self, name) for name in self.keys()]

    def metainfo_values(self) -> list[Any]:
        """Return the values of the meta information."""
        return [getattr(self, name) for name in self.metainfo_keys()]

    def all_values(self) -> list[Any]:
        """Return all values, meta information first."""
        return self.metainfo_values() + self.values()

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the data."""
        # keys() is a list of this moment, so a caller may remove fields on the way.
        return ((name, getattr(self, name)) for name in self.keys())

    def metainfo_items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the meta information."""
        return ((name, getattr(self, name)) for name in self.metainfo_keys())

    def all_items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over all fields, meta information first."""
        return ((name, getattr(self, name)) for name in self.all_keys())

    @property
    def metainfo(self) -> dict[str, Any]:
        """The meta information."""
        return dict(self.metainfo_items())

    def get(self, key: str, default: Any = None) -> Any:
        """Return the field ``key``, or ``default``."""
        return getattr(self, key, default)

    def pop(self, *args: Any) -> Any:
        """Remove a field and return it; ``pop(name, default)`` accepts a missing one.

        Raises:
            KeyError: There is no such field.
        """
        if not 1 <= len(args) <= 2:
            raise ArgumentError(f"pop takes a name and perhaps a default, but got {args!r}")
        if args[0] in self:
            value = getattr(self, args[0])
            delattr(self, args[0])
            return value
        if len(args) == 2:
            return args[1]
        raise KeyError(f"{args[0]} is not contained in metainfo or data")

    def __contains__(self, item: str) -> bool:
        return item in self._data_fields or item in self._metainfo_fields

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in PRIVATE:
            self.set_field(name=name, value=value, field_type="data", dtype=None)
        # __init__ has set them already.
        elif hasattr(self, name):
            raise AttributeError(
                f"{name} has been used as a private attribute, which is immutable."
            )
        else:
            super().__setattr__(name, value)

    def __delattr__(self, item: str) -> None:
        if item in PRIVATE:
            raise AttributeError(
                f"{item} has been used as a private attribute, which is immutable."
            )
        # First: it raises if there is no such field, and then nothing has changed.
        super().__delattr__(item)
        self._metainfo_fields.discard(item)
        self._data_fields.discard(item)

    __delitem__ = __delattr__

    if TYPE_CHECKING:
        # Fields are attributes that only the data knows. At run time a missing one is Python's own AttributeError.
        def __getattr__(self, name: str) -> Any: ...

    # As a tensor

    def _map(self, applies: Callable[[Any], bool], convert: Callable[[Any], Any]) -> Self:
        """Return a copy in which ``convert`` was applied to the data for which ``applies`` is true."""
        other = self.new()
        other.set_data({name: convert(value) for name, value in self.items() if applies(value)})
        return other

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Call ``to`` of everything in the data that has it."""
        # As in MMEngine 0.10.7, anything with a `to` is moved; cpu() and the like move tensors and elements only.
        return self._map(lambda v: hasattr(v, "to"), lambda v: v.to(*args, **kwargs))

    def cpu(self) -> Self:
        """Move all tensors to the CPU."""
        return self._map(_is_tensor_like, lambda v: v.cpu())

    def cuda(self) -> Self:
        """Move all tensors to the current CUDA device."""
        return self._map(_is_tensor_like, lambda v: v.cuda())

    def musa(self) -> Self:
        """Move all tensors to the current MUSA device."""
        return self._map(_is_tensor_like, lambda v: v.musa())

    def npu(self) -> Self:
        """Move all tensors to the current NPU."""
        return self._map(_is_tensor_like, lambda v: v.npu())

    def mlu(self) -> Self:
        """Move all tensors to the current MLU."""
        return self._map(_is_tensor_like, lambda v: v.mlu())

    def detach(self) -> Self:
        """Cut all tensors off their graphs."""
        return self._map(_is_tensor_like, lambda v: v.detach())

    def numpy(self) -> Self:
        """Turn all tensors into arrays."""
        return self._map(_is_tensor_like, lambda v: v.detach().cpu().numpy())

    def to_tensor(self) -> Self:
        """Turn all arrays into tensors that share their memory."""
        return self._map(
            lambda v: isinstance(v, np.ndarray) or is_data_element(v),
            lambda v: torch.from_numpy(v) if isinstance(v, np.ndarray) else v.to_tensor(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a dict; elements within become dicts too."""
        return {k: v.to_dict() if is_data_element(v) else v for k, v in self.all_items()}

    def __repr__(self) -> str:
        return _dump(self)


def _dump(obj: Any) -> str:
    if isinstance(obj, dict):
        return "".join(f"\n{name}: {_indent(_dump(value))}" for name, value in obj.items())
    if not is_data_element(obj):
        return repr(obj)
    meta = _indent(_dump(dict(obj.metainfo_items())))
    data = _indent(_dump(dict(obj.items())))
    return f"<{type(obj).__name__}(\n\n    META INFORMATION{meta}\n\n    DATA FIELDS{data}\n) at {hex(id(obj))}>"


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
