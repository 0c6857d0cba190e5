"""Exceptions that more than one room raises; imports nothing, so that every room can import it."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's, with a message that says what was given, what is accepted, and what to do."""


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


def add_note(error: BaseException, note: str) -> None:
    """Append ``note`` to the text of ``error``, which Python < 3.11 cannot do by itself."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    # Before Python 3.11 the message itself has to grow, and only a plain text can.
    elif len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}",)


def unwritten(path: object, error: OSError) -> OSError:
    """Return an error that names the file, for one of a full disk: ``write`` knows no name.

    >>> print(unwritten("a.json", OSError(28, "No space left on device")))
    [Errno 28] a.json could not be written: No space left on device → make room there, or name another --work-dir
    """
    return OSError(
        error.errno,
        f"{path} could not be written: {error.strerror} → make room there, or name another --work-dir",
    )
