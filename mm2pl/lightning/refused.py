"""What Lightning refuses, as a mistake of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from mm2pl.errors import MissingModuleError, StateError, UserError


class RefusedByLightning(UserError, MisconfigurationException):
    """Lightning's own message about options or callbacks that do not go together."""


@contextmanager
def refused_options() -> Iterator[None]:
    """Raise what a Trainer refuses while it is made as a :class:`RefusedByLightning`.

    Raises:
        RefusedByLightning: With Lightning's message.
    """
    try:
        yield
    except UserError:
        raise
    except (MisconfigurationException, ValueError) as error:
        raise RefusedByLightning(f"the Trainer refuses its options: {error}") from error


@contextmanager
def refused_run(trainer: Trainer) -> Iterator[None]:
    """Raise what Lightning refuses during a run as a mistake of the user's.

    Raises:
        RefusedByLightning: With Lightning's message.
        MissingModuleError: A callback needs a package that is not installed.
        StateError: A callback watches a metric that nobody logs.
    """
    try:
        yield
    except UserError:
        raise
    except MisconfigurationException as error:
        raise RefusedByLightning(str(error)) from error
    except ModuleNotFoundError as error:
        # An import that fails names its module; whoever raises this by hand has written a message for the user.
        if error.name is None:
            raise MissingModuleError(
                f"{' '.join(str(error).split())} → install it, or leave out what needs it"
            ) from error
        raise
    except RuntimeError as error:
        # EarlyStopping of Lightning 2.6 raises this very general class.
        if any(f"`{name}`" in str(error) for name in _unknown_monitors(trainer)):
            raise StateError(str(error)) from error
        raise


def _unknown_monitors(trainer: Trainer) -> Iterator[str]:
    """Yield the metrics that callbacks insist on and that the Trainer does not have."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = getattr(callback, "monitor", None)
        if getattr(callback, "strict", False) and name not in trainer.callback_metrics:
            yield str(name)
