"""What Lightning refuses, as a mistake of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from mm2pl.errors import ArgumentError, MissingModuleError, StateError, UserError


class RefusedByLightning(UserError, MisconfigurationException, TypeError, ValueError):
    """Lightning's own message about options or callbacks that do not go together."""


def _is_lightnings(error: BaseException) -> bool:
    """Return whether an error was raised in Lightning's code, and not in code of the user's that it has called."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").startswith("lightning.")


DIVISORS = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")
"""Arguments by which Lightning 2.6 divides a count, and that it takes at any value."""


@contextmanager
def refused_options(options: Mapping[str, Any]) -> Iterator[None]:
    """Raise what a Trainer refuses while it is made as a :class:`RefusedByLightning`.

    Args:
        options: The Trainer's arguments.

    Raises:
        RefusedByLightning: With Lightning's message.
        ArgumentError: Lightning takes a value with which its loop fails later.
    """
    for name in DIVISORS:
        value = options.get(name)
        if isinstance(value, int | float) and value <= 0:
            instead = (
                "limit_val_batches=0 leaves out validation"
                if "val" in name
                else "1 steps after each batch"
            )
            raise ArgumentError(f"Trainer({name}={value!r}) → more than 0 → {instead}")
    try:
        yield
    except UserError:
        raise
    except (MisconfigurationException, ValueError, TypeError) as error:
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
    except ValueError as error:
        # Lightning 2.6 has no class of its own for all that it refuses.
        if _is_lightnings(error):
            raise RefusedByLightning(" ".join(str(error).split())) from error
        raise
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
