"""The scope that look-ups start from when a config does not say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from mm2pl.errors import ArgumentError
from mm2pl.utils import ManagerMixin

# Numbers make new names. MMEngine 0.10.7 takes the time, and sleeps a microsecond so that it is a new one.
_OVERWRITES = itertools.count()


class DefaultScope(ManagerMixin):
    """Name the current task's scope; stands for `mmengine.registry.DefaultScope`.

    Args:
        name: Of the instance, as for `ManagerMixin`.
        scope_name: The scope, such as ``"mmdet"``: the part before the dot in ``mmdet.RetinaNet``.

    Raises:
        ArgumentError: ``scope_name`` is not a string.

    Example:
        >>> with DefaultScope.overwrite_default_scope("mm2pl"):
        ...     DefaultScope.get_current_instance().scope_name
        'mm2pl'
    """

    def __init__(self, name: str, scope_name: str) -> None:
        super().__init__(name)
        if not isinstance(scope_name, str):
            raise ArgumentError(f"scope_name should be a string, but got {scope_name!r}")
        self._scope_name = scope_name

    @property
    def scope_name(self) -> str:
        """The scope, such as ``'mmdet'``."""
        return self._scope_name

    @classmethod
    def get_current_instance(cls) -> DefaultScope | None:
        """Return the scope set last, or None if no scope was ever set."""
        return super().get_current_instance() if cls._instance_dict else None

    @classmethod
    @contextmanager
    def overwrite_default_scope(cls, scope_name: str | None) -> Iterator[None]:
        """Make ``scope_name`` the current scope for a while; None changes nothing."""
        if scope_name is None:
            yield
            return
        # MMEngine 0.10.7 copies deeply, so every scope is another object after an overwrite than before.
        before = cls._instance_dict.copy()
        cls.get_instance(f"overwrite-{next(_OVERWRITES)}", scope_name=scope_name)
        try:
            yield
        finally:
            cls._instance_dict = before
