"""File formats by suffix."""

from __future__ import annotations

import json
import pickle
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import IO, Any

from mm2pl.errors import ArgumentError
from mm2pl.utils import is_list_of


class BaseFileHandler(metaclass=ABCMeta):
    """Read and write one format; stands for `mmengine.fileio.BaseFileHandler`."""

    str_like = True
    """The format is text; else bytes."""

    @abstractmethod
    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read an object from an open file."""

    @abstractmethod
    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file."""

    @abstractmethod
    def dump_to_str(self, obj: Any, **kwargs: Any) -> Any:
        """Return the object's text or bytes."""

    def load_from_path(self, filepath: str, mode: str = "r", **kwargs: Any) -> Any:
        """Read an object from a local file."""
        with open(filepath, mode) as file:
            return self.load_from_fileobj(file, **kwargs)

    def dump_to_path(self, obj: Any, filepath: str, mode: str = "w", **kwargs: Any) -> None:
        """Write an object to a local file."""
        with open(filepath, mode) as file:
            self.dump_to_fileobj(obj, file, **kwargs)


def set_default(obj: Any) -> Any:
    """Return sets, ranges and NumPy's arrays and numbers as JSON knows them.

    Raises:
        TypeError: JSON cannot hold the object.
    """
    if isinstance(obj, (set, range)):
        return list(obj)
    # By name, so that plain JSON needs no NumPy.
    if type(obj).__module__ == "numpy" and hasattr(obj, "tolist"):
        return obj.tolist()
    raise TypeError(f"{type(obj)} is unsupported for json dump: {obj!r}")


class JsonHandler(BaseFileHandler):
    """JSON; options go to `json.load` and `json.dumps`; only the latter encodes in C."""

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read an object from an open file."""
        # MMEngine 0.10.7 accepts no options here.
        return json.load(file, **kwargs)

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file."""
        file.write(self.dump_to_str(obj, **kwargs))

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """Return the object's text."""
        return json.dumps(obj, **{"default": set_default, **kwargs})


class YamlHandler(BaseFileHandler):
    """YAML; options go to `yaml.load` and `yaml.dump`.

    By default no tag of a file can call Python code, as it can with MMEngine's default loader; tuples
    are read.
    """

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read an object from an open file."""
        # PyYAML takes 50 ms to import, and most runs read no YAML.
        import yaml

        return yaml.load(file, **{"Loader": _fast(yaml, "FullLoader"), **kwargs})

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file."""
        self.dump_to_str(obj, stream=file, **kwargs)

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """Return the object's text."""
        import yaml

        return yaml.dump(obj, **{"Dumper": _fast(yaml, "Dumper"), **kwargs})


def _fast(yaml: Any, name: str) -> Any:
    """Return PyYAML's compiled class if it was built with it."""
    return getattr(yaml, f"C{name}", getattr(yaml, name))


class PickleHandler(BaseFileHandler):
    """Pickle, protocol 2; options go to `pickle.load` and `pickle.dump`."""

    str_like = False

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read an object from an open file."""
        return pickle.load(file, **kwargs)

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file."""
        # MMEngine 0.10.7's protocol: it is the newest one that Python 2 reads.
        pickle.dump(obj, file, **{"protocol": 2, **kwargs})

    def dump_to_str(self, obj: Any, **kwargs: Any) -> bytes:
        """Return the object's bytes."""
        return pickle.dumps(obj, **{"protocol": 2, **kwargs})

    def load_from_path(self, filepath: str, mode: str = "rb", **kwargs: Any) -> Any:
        """Read an object from a local file."""
        return super().load_from_path(filepath, mode, **kwargs)

    def dump_to_path(self, obj: Any, filepath: str, mode: str = "wb", **kwargs: Any) -> None:
        """Write an object to a local file."""
        super().dump_to_path(obj, filepath, mode, **kwargs)


file_handlers: dict[str, BaseFileHandler] = {
    "json": JsonHandler(),
    "yaml": YamlHandler(),
    "yml": YamlHandler(),
    "pickle": PickleHandler(),
    "pkl": PickleHandler(),
}
"""Handlers by suffix."""


def register_handler(
    file_formats: str | list[str], **kwargs: Any
) -> Callable[[type[BaseFileHandler]], type[BaseFileHandler]]:
    """Use a handler class, built with ``kwargs``, for the suffixes ``file_formats``; a class decorator.

    Raises:
        TypeError: A format is not a string.
    """
    formats = [file_formats] if isinstance(file_formats, str) else file_formats
    if not is_list_of(formats, str):
        raise ArgumentError(
            f"file_formats must be a str or a list of str, but got {file_formats!r}"
        )

    def register(cls: type[BaseFileHandler]) -> type[BaseFileHandler]:
        handler = cls(**kwargs)
        if not isinstance(handler, BaseFileHandler):
            raise ArgumentError(f"handler must be a child of BaseFileHandler, not {cls}")
        file_handlers.update(dict.fromkeys(formats, handler))
        return cls

    return register
