"""What can be wrong with a config: one hierarchy, each error at a file and line of the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import UserError


class Site(NamedTuple):
    """A place in a user's file; ``lineno`` counts from 1, 0 means the whole file."""

    filename: str
    lineno: int = 0

    def __str__(self) -> str:
        return f"{self.filename}:{self.lineno}" if self.lineno else self.filename


class ConfigError(UserError):
    """Say what is wrong with a config, where, and through which ``_base_`` lines it was reached.

    Every subclass is also the builtin exception that MMEngine raises in the same case, so
    ``except KeyError`` and the like go on working.

    Args:
        message: What was given, what is accepted, what to do.
        at: The faulty place.
        via: The ``_base_`` lines that led there, from the file the user named inwards.
        key: A misspelt name; close ones among ``accepted`` are suggested when the error is printed.
        accepted: The names that exist.
    """

    def __init__(
        self,
        message: str,
        at: Site | None = None,
        via: Sequence[Site] = (),
        key: object = None,
        accepted: Iterable[object] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.via = tuple(via)
        self.key = key
        # Compared with the key only when the error is printed: most lookups that fail are caught unseen.
        self.accepted = accepted

    def __str__(self) -> str:
        # Each subclass names ConfigError first. Otherwise KeyError.__str__ would print the repr.
        where = f"{self.at}: " if self.at else ""
        message = self.message
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}..."
        hint = did_you_mean(closest(self.key, self.accepted))
        chain = "".join(f"\n  inherited by {site}" for site in reversed(self.via))
        return f"{where}{message}{hint}{chain}"


class ConfigParsingError(ConfigError, RuntimeError):
    """Report a file that does not follow the rules of the config language; see `ConfigError`."""


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """Report a config or base file that does not exist."""


class ConfigFormatError(ConfigError, OSError):
    """Report a file that is not .py, .yaml, .yml or .json, or cannot be read."""


class ConfigSyntaxError(ConfigError, SyntaxError):
    """Report text that is not Python, YAML or JSON."""


class ConfigKeyError(ConfigError, KeyError):
    """Report a missing, duplicate or reserved key; see `ConfigError`."""


class ConfigIndexError(ConfigError, IndexError):
    """Report an index beyond a list."""


class ConfigAttributeError(ConfigError, AttributeError):
    """Report a missing key that was asked for as an attribute."""


class ConfigTypeError(ConfigError, TypeError):
    """Report a value of the wrong type, such as a dict merged into a number."""


class ConfigValueError(ConfigError, ValueError):
    """Report a value out of its range."""


class ConfigNameError(ConfigError, NameError):
    """Report a variable that a config uses but does not define."""


class ConfigModuleNotFoundError(ConfigError, ModuleNotFoundError):
    """Report a package or module that a config needs and that is not installed."""


class ConfigSafetyError(ConfigError, ValueError):
    """Report what a config may not do, or may not cost, when it is read with ``safe=True``."""


class ConfigImportError(ConfigError, ImportError):
    """Report a name that a config imports and that its module does not have."""


# The first match counts, so each class stands before its base.
_KINDS: tuple[tuple[type[Exception], type[ConfigError]], ...] = (
    (KeyError, ConfigKeyError),
    (IndexError, ConfigIndexError),
    (AttributeError, ConfigAttributeError),
    (TypeError, ConfigTypeError),
    (NameError, ConfigNameError),
    (ModuleNotFoundError, ConfigModuleNotFoundError),
    (ImportError, ConfigImportError),
    (SyntaxError, ConfigSyntaxError),
    (FileNotFoundError, ConfigFileNotFoundError),
    (OSError, ConfigFormatError),
    (ValueError, ConfigValueError),
)

# A message may quote a value of the config, which may be megabytes long.
_LONGEST_MESSAGE = 5000


def locate_error(error: Exception, filename: str, lineno: int = 0) -> ConfigError:
    """Return a :class:`ConfigError` for what a config's own code raised.

    Its line is ``lineno``, or the innermost line of ``filename`` in the traceback.
    """
    site = Site(filename, lineno or _lineno(error, filename))
    if isinstance(error, ConfigError):
        # A place that is known already lies further inside.
        error.at = error.at or site
        return error
    kind = next((ours for theirs, ours in _KINDS if isinstance(error, theirs)), ConfigParsingError)
    return kind(f"{type(error).__name__}: {error}", site)


@contextmanager
def reached_by(filename: str, via: Sequence[Site]) -> Iterator[None]:
    """Complete errors raised while a file is read: the file, and the ``_base_`` lines to it.

    Raises:
        ConfigParsingError: The configs are nested too deeply.
    """
    try:
        yield
    except ConfigError as error:
        error.at = error.at or Site(filename)
        # The innermost file has set the whole chain, and this one knows only its beginning.
        error.via = error.via or tuple(via)
        raise
    except RecursionError as error:
        raise ConfigParsingError("It is nested too deeply.", Site(filename), via) from error


def _lineno(error: Exception, filename: str) -> int:
    """Return the innermost line of ``filename`` that the error passed through, or 0."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        # A config is compiled under its own path, so its frames bear it.
        if trace.tb_frame.f_code.co_filename == filename:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
