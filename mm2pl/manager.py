"""Named instances that code far apart can share: loggers, message hubs, visualizers, scopes.

MMEngine 0.10.7 has this in its utils, which need loggers, which need this. Here it stands below both.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from mm2pl.errors import ArgumentError

# Reentrant: what is being built may ask for another instance, such as the current logger.
_LOCK = threading.RLock()

T = TypeVar("T", bound="ManagerMixin")


class ManagerMeta(type):
    """Give every class its own table of instances; stands for `mmengine.utils.ManagerMeta`.

    ``args`` are those of `type`.

    Raises:
        ArgumentError: The class cannot be built with a ``name``.
    """

    _instance_dict: OrderedDict[str, Any]

    def __init__(cls, *args: Any) -> None:
        super().__init__(*args)
        # For each class, since a subclass would otherwise find the instances of its base.
        cls._instance_dict = OrderedDict()
        # get_instance passes it by keyword.
        if "name" not in inspect.signature(cls.__init__).parameters:  # type: ignore[misc]
            raise ArgumentError(
                f"{cls}.__init__ must have the name argument: instances are kept by name."
            )


class ManagerMixin(metaclass=ManagerMeta):
    """Keep one instance per name and class; stands for `mmengine.utils.ManagerMixin`.

    The *current* instance is the one created last. Each class has instances of its own.

    Args:
        name: What :meth:`get_instance` finds the instance by; not empty.
        **kwargs: Accepted and unused, so that a subclass may hand on its own.

    Raises:
        ArgumentError: The name is not a string, or empty.

    Example:
        >>> class Board(ManagerMixin):
        ...     def __init__(self, name: str, size: int = 8) -> None:
        ...         super().__init__(name)
        ...         self.size = size
        >>> Board.get_instance("chess") is Board.get_instance("chess")
        True
        >>> Board.get_instance("go", size=19) is Board.get_current_instance()
        True
    """

    def __init__(self, name: str = "", **kwargs: Any) -> None:
        if not (isinstance(name, str) and name):
            raise ArgumentError(f"name argument must be an non-empty string, not {name!r}.")
        self._instance_name = name

    @classmethod
    def get_instance(cls: type[T], name: str, **kwargs: Any) -> T:
        """Return the instance called ``name``, built with ``kwargs`` if there is none yet.

        Raises:
            ArgumentError: The name is not a string.
        """
        if not isinstance(name, str):
            raise ArgumentError(f"type of name should be str, but got {name!r}.")
        # Two threads must not build two instances of one name.
        with _LOCK:
            instances = cls._instance_dict
            if name not in instances:
                instances[name] = cls(name=name, **kwargs)
            elif kwargs:
                warnings.warn(
                    f"{cls} instance named of {name} has been created, the method `get_instance` "
                    f"should not accept any other arguments: {sorted(kwargs)} are ignored.",
                    stacklevel=2,
                )
            return instances[name]

    @classmethod
    def get_current_instance(cls) -> Any:
        """Return the instance created last.

        Raises:
            RuntimeError: There is none.
        """
        with _LOCK:
            if not cls._instance_dict:
                raise RuntimeError(
                    f"Before calling {cls.__name__}.get_current_instance(), you should call "
                    "get_instance(name=xxx) at least once."
                )
            # Asking for an older instance does not make it the current one again, as in MMEngine 0.10.7.
            return next(reversed(cls._instance_dict.values()))

    @classmethod
    def check_instance_created(cls, name: str) -> bool:
        """Return whether there is an instance called ``name``."""
        return name in cls._instance_dict

    @classmethod
    def forget_instance(cls, name: str) -> None:
        """Keep the instance called ``name`` no longer; who holds it may go on using it."""
        with _LOCK:
            cls._instance_dict.pop(name, None)

    @property
    def instance_name(self) -> str:
        """The name under which the instance is kept."""
        return self._instance_name


def forget_new_instances() -> Callable[[], None]:
    """Return a function that forgets the instances made from now on, of all classes, and closes their files."""
    before = {cls: cls._instance_dict.copy() for cls in _managed(ManagerMixin)}

    def forget() -> None:
        for cls in _managed(ManagerMixin):
            # A class that was made meanwhile has no instances from before.
            kept = before.get(cls, OrderedDict())
            for name, instance in cls._instance_dict.items():
                if name not in kept:
                    _close(instance)
            cls._instance_dict = kept

    return forget


def _managed(cls: type[ManagerMixin]) -> list[type[ManagerMixin]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _managed(sub))]


def _close(instance: Any) -> None:
    """Close a logger's handlers, or what a visualizer writes to."""
    for handler in getattr(instance, "handlers", ()):
        # A full disk leaves lines in its buffer, which it cannot write here either.
        with suppress(OSError):
            handler.close()
    if hasattr(instance, "close"):
        instance.close()
