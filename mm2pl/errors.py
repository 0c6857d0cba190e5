"""Exceptions that more than one room raises; imports nothing of mm2pl's, so that every room can import it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake of the user's, with a message that says what was given, what is accepted, and what to do.

    Attributes:
        config_key: The key of a config that holds the wrong value, where it is known; it stands before the message.
    """

    config_key = ""

    def put_under(self, key: str, before_parts: str) -> None:
        """Name the key in the message; one that is known already is a part of it."""
        message, known = self.args[0] if self.args else "", self.config_key
        # A code of the operating system, or a message that begins with the key by itself.
        if not isinstance(message, str) or message.startswith((f"{key}.", f"{key}=")):
            return
        self.config_key = f"{before_parts}{known}" if known else key
        self.args = (f"{self.config_key} → {message.removeprefix(f'{known} → ')}", *self.args[1:])


class ReadableKeyError(UserError, KeyError):
    """A KeyError that prints its message as written (`str(KeyError(m))` is the repr of ``m``).

    Example:
        >>> print(ReadableKeyError("no 'x' here"))
        no 'x' here
    """

    def __str__(self) -> str:
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class ArgumentError(UserError, AssertionError, TypeError, ValueError):
    """A wrong argument where MMEngine has an ``assert``, so that either kind of handler sees it."""


class MissingFileError(UserError, FileNotFoundError):
    """A file that a user has named and that is not there."""


class ExistingFileError(UserError, FileExistsError):
    """A file that would be overwritten."""


class FileError(UserError, OSError):
    """A file or folder that cannot be read or written."""


class MissingPackageError(UserError, ImportError):
    """A package or module that is needed and cannot be imported."""


class MissingModuleError(MissingPackageError, ModuleNotFoundError):
    """A module that is imported and that nobody has."""


class StateError(UserError, RuntimeError):
    """Something that cannot be done as things stand: a part of the run is missing, or it comes too late."""


class UnsupportedError(UserError, NotImplementedError):
    """Something that MMEngine or MMCV can do and mm2pl cannot."""


class UnsupportedVersion(UserError, ImportError):
    """The installed version of a library lacks private parts that mm2pl relies on, or has others.

    Args:
        installed: Name and version of the library.
        found: What is wrong with it.
        requirement: The versions that work, as pip reads them.

    Example:
        >>> print(UnsupportedVersion("torch 9.0", "without DataLoader._iterator", "torch>=2.4,<9"))
        torch 9.0 without DataLoader._iterator → mm2pl works with torch>=2.4,<9 → pip install 'torch>=2.4,<9'
    """

    def __init__(self, installed: str, found: str, requirement: str) -> None:
        super().__init__(
            f"{installed} {found} → mm2pl works with {requirement} → pip install '{requirement}'"
        )


@contextmanager
def under_key(key: str, before_parts: str | None = None) -> Iterator[None]:
    """Let what is refused inside say which key of a config it stands under.

    Args:
        key: The key, or its part below that of an outer ``under_key``.
        before_parts: What stands before a part's own key; by default ``key`` and a dot.

    >>> with under_key("default_hooks.timer"), under_key("priority"):
    ...     raise ArgumentError("300 is too much")
    Traceback (most recent call last):
    mm2pl.errors.ArgumentError: default_hooks.timer.priority → 300 is too much
    """
    try:
        yield
    except UserError as error:
        error.put_under(key, f"{key}." if before_parts is None else before_parts)
        raise


@contextmanager
def refused_values(where: str) -> Iterator[None]:
    """Raise what a constructor of another library says about values of a config as a mistake of the user's.

    Args:
        where: The key that holds the values.

    Raises:
        ArgumentError: With the constructor's message.
    """
    try:
        yield
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        raise ArgumentError(f"{where} → {error}{notes}") from error


def add_note(error: BaseException, note: str) -> None:
    """Append ``note`` to the text of ``error``, which Python < 3.11 cannot do by itself."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    # Before Python 3.11 the message itself has to grow, and only a plain text can.
    elif len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}",)
        # A ConfigError prints this attribute.
        if "message" in vars(error):
            vars(error)["message"] += f"\n{note}"


def unwritten(path: object, error: OSError) -> FileError:
    """Return an error that names the file, for one of a full disk: ``write`` knows no name.

    >>> print(unwritten("a.json", OSError(28, "No space left on device")))
    [Errno 28] a.json could not be written: No space left on device → make room there, or name another folder
    """
    return FileError(
        error.errno,
        f"{path} could not be written: {error.strerror} → make room there, or name another folder",
    )
