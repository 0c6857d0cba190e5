"""Small functions on sequences, names and callables; those of `mmengine.utils.misc`."""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
import shutil
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from mm2pl.compat import import_module
from mm2pl.errors import ArgumentError, MissingPackageError, StateError
from mm2pl.logging import print_log

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Types = type | tuple[type, ...]


def to_ntuple(n: int) -> Callable[[Any], Any]:
    """Return a function that repeats a value ``n`` times, but leaves iterables as they are.

    Example:
        >>> to_ntuple(3)(1), to_ntuple(3)([1, 2])
        ((1, 1, 1), [1, 2])
    """

    def repeat(x: Any) -> Any:
        """Return ``x`` as it is if it can be iterated, else a tuple that holds it as often as the name says."""
        # As in MMEngine 0.10.7, a string is an iterable and stays as it is.
        return x if isinstance(x, Iterable) else (x,) * n

    return repeat


to_1tuple, to_2tuple, to_3tuple, to_4tuple = map(to_ntuple, (1, 2, 3, 4))


def is_str(x: Any) -> bool:
    """Return whether ``x`` is a string."""
    return isinstance(x, str)


def import_modules_from_strings(
    imports: list[str] | str | None, allow_failed_imports: bool = False
) -> Any:
    """Import the modules named in ``imports``, as ``custom_imports`` does.

    Returns:
        The modules, or the module if one name was given, or None if none was.

    Raises:
        TypeError: It is not a list of strings.
        ImportError: A module cannot be imported; with ``allow_failed_imports`` it is only warned of,
            and is None.
    """
    if not imports:
        return None
    if isinstance(imports, str):
        return import_modules_from_strings([imports], allow_failed_imports)[0]
    if not isinstance(imports, list):
        raise ArgumentError(
            f"custom_imports must be a list but got type {type(imports)}: {imports!r}"
        )
    modules: list[ModuleType | None] = []
    for name in imports:
        if not isinstance(name, str):
            raise ArgumentError(f"{name} is of type {type(name)} and cannot be imported.")
        try:
            modules.append(import_module(name))
        except ImportError as error:
            if not allow_failed_imports:
                # MMEngine 0.10.7 leaves out the cause.
                raise MissingPackageError(f"Failed to import {name}: {error}") from error
            warnings.warn(f"{name} failed to import and is ignored: {error}", stacklevel=2)
            modules.append(None)
    return modules


def iter_cast(inputs: Any, dst_type: type, return_type: Any = None) -> Any:
    """Cast every item to ``dst_type``; an iterator, or ``return_type`` of it.

    Raises:
        TypeError: ``inputs`` cannot be iterated, or ``dst_type`` is not a type.
    """
    if not isinstance(inputs, Iterable):
        raise ArgumentError(f"inputs must be an iterable object, but got {inputs!r}")
    if not isinstance(dst_type, type):
        raise ArgumentError(f'"dst_type" must be a valid type, but got {dst_type!r}')
    cast = map(dst_type, inputs)
    return cast if return_type is None else return_type(cast)


def list_cast(inputs: Any, dst_type: type) -> list[Any]:
    """Cast every item of ``inputs`` to ``dst_type``, into a list."""
    return iter_cast(inputs, dst_type, return_type=list)


def tuple_cast(inputs: Any, dst_type: type) -> tuple[Any, ...]:
    """Cast every item of ``inputs`` to ``dst_type``, into a tuple."""
    return iter_cast(inputs, dst_type, return_type=tuple)


def is_seq_of(seq: Any, expected_type: Types, seq_type: type | None = None) -> bool:
    """Return whether ``seq`` is a sequence with only items of ``expected_type``.

    ``seq_type`` narrows which sequences are meant (default: any `collections.abc.Sequence`).

    Raises:
        ArgumentError: ``seq_type`` is not a type.

    Example:
        >>> is_seq_of([1, 2], int), is_seq_of((1, 2), int, seq_type=list)
        (True, False)
    """
    if not (seq_type is None or isinstance(seq_type, type)):
        raise ArgumentError(f"seq_type must be a type or None, but got {seq_type!r}")
    # A string is a sequence too, of strings, as in MMEngine 0.10.7.
    return isinstance(seq, Sequence if seq_type is None else seq_type) and all(
        isinstance(item, expected_type)
        for item in seq  # type: ignore[attr-defined]
    )


def is_list_of(seq: Any, expected_type: Types) -> bool:
    """Return whether ``seq`` is a list with only items of ``expected_type``."""
    return is_seq_of(seq, expected_type, seq_type=list)


def is_tuple_of(seq: Any, expected_type: Types) -> bool:
    """Return whether ``seq`` is a tuple with only items of ``expected_type``."""
    return is_seq_of(seq, expected_type, seq_type=tuple)


def slice_list(in_list: list[Any], lens: int | list[int]) -> list[list[Any]]:
    """Cut ``in_list`` into pieces of the lengths ``lens``, or all of length ``lens``.

    Raises:
        ArgumentError: The items cannot be divided evenly.
        TypeError: ``lens`` is of another kind.
        ValueError: The lengths do not add up.

    Example:
        >>> slice_list([1, 2, 3, 4], 2), slice_list([1, 2, 3], [1, 2])
        ([[1, 2], [3, 4]], [[1], [2, 3]])
    """
    if isinstance(lens, int):
        if len(in_list) % lens:
            raise ArgumentError(f"{len(in_list)} items cannot be cut into pieces of {lens}.")
        lens = [lens] * (len(in_list) // lens)
    if not isinstance(lens, list):
        raise ArgumentError(f'"indices" must be an integer or a list of integers, but got {lens!r}')
    if sum(lens) != len(in_list):
        raise ArgumentError(
            f"sum of lens and list length does not match: {sum(lens)} != {len(in_list)}"
        )
    ends = list(itertools.accumulate(lens))
    return [in_list[end - length : end] for end, length in zip(ends, lens, strict=True)]


def concat_list(in_list: Iterable[Iterable[Any]]) -> list[Any]:
    """Join the lists in ``in_list`` into one."""
    return list(itertools.chain(*in_list))


def apply_to(data: Any, expr: Callable[[Any], bool], apply_func: Callable[[Any], Any]) -> Any:
    """Apply ``apply_func`` to every leaf of ``data``, a nest of dicts, lists and tuples, for which ``expr`` holds.

    Example:
        >>> apply_to({"a": [1, "x"]}, lambda x: isinstance(x, int), lambda x: x + 1)
        {'a': [2, 'x']}
    """
    if isinstance(data, dict):
        applied = type(data)()  # keeps ConfigDict and OrderedDict
        for key, value in data.items():
            applied[key] = apply_to(value, expr, apply_func)
        return applied
    if isinstance(data, (tuple, list)):
        items = (apply_to(item, expr, apply_func) for item in data)
        # A named tuple takes its items one by one.
        return type(data)(*items) if hasattr(data, "_fields") else type(data)(items)
    return apply_func(data) if expr(data) else data


def to_lists(data: Any) -> Any:
    """Make nested lists of the tensors, arrays and tuples in ``data``, and builtin dicts of mappings, as JSON has them.

    Example:
        >>> import numpy as np
        >>> to_lists({"a": (1, np.float32(0.5)), "b": np.eye(2)})
        {'a': [1, 0.5], 'b': [[1.0, 0.0], [0.0, 1.0]]}
    """
    if isinstance(data, Mapping):
        return {key: to_lists(value) for key, value in data.items()}
    if isinstance(data, (tuple, list)):
        return [to_lists(item) for item in data]
    # The class np.ndarray has a tolist as well as its instances.
    return data.tolist() if hasattr(data, "tolist") and not isinstance(data, type) else data


def check_prerequisites(
    prerequisites: str | Iterable[str],
    checker: Callable[[str], bool],
    msg_tmpl: str = 'Prerequisites "{}" are required in method "{}" but not found, '
    "please install them first.",
) -> Decorator:
    """Let a function run only if ``checker`` accepts every prerequisite; a decorator.

    Args:
        prerequisites: Names, or one name.
        checker: Tells of one name whether it is there.
        msg_tmpl: The message, with one ``{}`` for what is missing and one for the function's name.

    Raises:
        RuntimeError: When the function is called and something is missing.
    """
    # A list, since an iterator would be empty after the first call.
    required = [prerequisites] if isinstance(prerequisites, str) else list(prerequisites)

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def checked(*args: Any, **kwargs: Any) -> Any:
            missing = [item for item in required if not checker(item)]
            if missing:
                message = msg_tmpl.format(", ".join(missing), func.__name__)
                # MMEngine 0.10.7 tells what is missing only here, not in the error.
                print(message)
                raise StateError(f"Prerequisites not meet. {message}")
            return func(*args, **kwargs)

        return checked

    return decorate


def requires_package(prerequisites: str | Iterable[str]) -> Decorator:
    """Let a function run only if the packages ``prerequisites`` can be imported; a decorator."""

    def importable(package: str) -> bool:
        try:
            import_module(package)
        except ImportError:
            return False
        return True

    return check_prerequisites(prerequisites, importable)


def requires_executable(prerequisites: str | Iterable[str]) -> Decorator:
    """Let a function run only if the programs ``prerequisites`` are found; a decorator."""
    # MMEngine 0.10.7 runs `which` in a shell, which Windows does not have.
    return check_prerequisites(prerequisites, lambda program: shutil.which(program) is not None)


def deprecated_api_warning(name_dict: dict[str, str], cls_name: str | None = None) -> Decorator:
    """Accept old argument names with a warning; a decorator.

    Args:
        name_dict: Old names and what they are called now.
        cls_name: The class, if a method is decorated, for the message.
    """

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        name = func.__name__ if cls_name is None else f"{cls_name}.{func.__name__}"
        positional = inspect.getfullargspec(func).args

        @functools.wraps(func)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            for old, new in name_dict.items():
                if old in kwargs and new in kwargs:
                    raise ArgumentError(
                        f"The expected behavior is to replace the deprecated key `{old}` to new "
                        f"key `{new}`, but got them in the arguments at the same time, which is "
                        f"confusing: use `{new}` only."
                    )
                # By position there is nothing to rename, so the warning is all.
                if old in kwargs or old in positional[: len(args)]:
                    warnings.warn(
                        f'"{old}" is deprecated in `{name}`, please use "{new}" instead',
                        DeprecationWarning,
                        stacklevel=2,
                    )
                if old in kwargs:
                    kwargs[new] = kwargs.pop(old)
            return func(*args, **kwargs)

        return renamed

    return decorate


def is_method_overridden(method: str, base_class: type, derived_class: Any) -> bool:
    """Return whether ``derived_class``, a class or an instance, has another ``method`` than ``base_class``.

    Raises:
        ArgumentError: ``base_class`` is an instance.
    """
    if not isinstance(base_class, type):
        raise ArgumentError(
            f"base_class doesn't accept instance, Please pass class instead of {base_class!r}."
        )
    derived = derived_class if isinstance(derived_class, type) else type(derived_class)
    return getattr(derived, method) != getattr(base_class, method)


def has_method(obj: object, method: str) -> bool:
    """Return whether ``obj`` has something callable called ``method``."""
    return callable(getattr(obj, method, None))


def deprecated_function(since: str, removed_in: str, instructions: str) -> Decorator:
    """Log a warning whenever the function is called, and say so in its docstring; a decorator.

    Args:
        since: Version in which it was deprecated.
        removed_in: Version in which it will be removed.
        instructions: What to do instead: an imperative without a period, since "Please" is put before it.
    """

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def warned(*args: Any, **kwargs: Any) -> Any:
            print_log(
                f"'{func.__module__}.{func.__name__}' is deprecated in version {since} and will be "
                f"removed in version {removed_in}. Please {instructions}.",
                logger="current",
                level=logging.WARNING,
            )
            return func(*args, **kwargs)

        note = (
            f".. deprecated:: {since}\n"
            f"    Deprecated and will be removed in version {removed_in}.\n"
            f"    Please {instructions}."
        )
        summary, _, body = inspect.cleandoc(func.__doc__ or "").partition("\n\n")
        text = textwrap.indent("\n\n".join(filter(None, (summary, body))), "    ")
        warned.__doc__ = f"{note}\n\n\n{text}" + ("\n" if body else "")
        return warned

    return decorate


def get_object_from_string(obj_name: str) -> Any:
    """Return what the dotted path ``obj_name`` names, or None; stands for `mmengine.utils.get_object_from_string`.

    A class or function wins over a submodule of the same name (``mmcv.ops.nms`` is both).

    Example:
        >>> get_object_from_string("collections.OrderedDict.fromkeys").__name__
        'fromkeys'
        >>> get_object_from_string("no_such_package.Thing") is None
        True
    """
    parts = obj_name.split(".")
    # MMEngine 0.10.7 raises ValueError for an empty name.
    if not all(parts):
        return None
    try:
        obj: Any = import_module(parts[0])
        for depth, part in enumerate(parts[1:], start=2):
            inner = getattr(obj, part, None)
            if inner is not None and not isinstance(inner, ModuleType):
                return functools.reduce(
                    lambda found, name: getattr(found, name, None), parts[depth - 1 :], obj
                )
            obj = import_module(".".join(parts[:depth]))
    except ImportError:
        return None
    return obj
