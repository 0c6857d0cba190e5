"""What ``load_from_checkpoint`` builds from: a file that is intact, and names in it that are known."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable
from contextvars import ContextVar
from io import BytesIO
from typing import Any

from lightning.pytorch import LightningModule

from mm2pl.checkpoint.download import download
from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.checkpoint.reader import naming, read_outline
from mm2pl.checkpoint.schema import check
from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.fileio import get_file_backend
from mm2pl.registry.known import naming_source, require_known

restricted_classmethod: Any = type(vars(LightningModule)["load_from_checkpoint"])
"""Lightning's decorator for a class method that an instance refuses, whose result would be taken for its own."""

OLD_KEYS = ("hparams", "module_arguments")
"""Where Lightning before 1.0 kept what a module was made with; it still looks there."""

reads_file: ContextVar[bool] = ContextVar("reads_file", default=False)
"""Whether the weights that a module is given are a whole file's."""


class FromKnownNames:
    """Let a module or data module be made from a checkpoint; names in the file call nothing new."""

    @restricted_classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Make one as Lightning's own method does.

        Raises:
            ArgumentError: An argument is one that the class does not take, which Lightning leaves out silently.
            CheckpointError: The file is damaged or no checkpoint, or none of its weights is the module's.
            UnknownNameError: What a hyper-parameter names is new to this program.
        """
        made: Any = cls
        loader: Any = super()
        require_taken(made, loader.load_from_checkpoint, kwargs)
        name = "the checkpoint" if hasattr(checkpoint_path, "read") else os.fspath(checkpoint_path)
        if kwargs.get("weights_only") is not False:
            key = made.CHECKPOINT_HYPER_PARAMS_KEY
            checkpoint_path = with_known_names(checkpoint_path, key, kwargs)
        before = reads_file.set(True)
        try:
            with naming(name), naming_source(name):
                return loader.load_from_checkpoint(checkpoint_path, *args, **kwargs)
        finally:
            reads_file.reset(before)


def require_taken(made: type, loads: Callable[..., Any], given: Iterable[str]) -> None:
    """Refuse arguments that neither Lightning's method nor the class takes.

    Raises:
        ArgumentError: Naming one of them, and what it may stand for.
    """
    of_class = inspect.signature(made.__init__).parameters  # type: ignore[misc]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in of_class.values()):
        return
    own = list(of_class)[1:]  # without self
    known = [*own, *inspect.signature(loads).parameters]
    for name in given:
        if name not in known:
            raise ArgumentError(
                f"load_from_checkpoint(…, {name}=…) → {made.__name__} takes {', '.join(own)} → leave it out, or give "
                f"one of these.{did_you_mean(closest(name, known, most=1))}"
            )


def with_known_names(source: Any, key: str, given: Collection[str]) -> Any:
    """Return a checkpoint for Lightning's ``load_from_checkpoint`` once its content has been looked at.

    Args:
        source: A path, URL or open file.
        key: Where in it Lightning keeps what the module or data module was made with.
        given: Arguments that the caller gives in place of those in the file.

    Raises:
        CheckpointError: It is damaged or no checkpoint, or holds a value of a wrong type.
        UnknownNameError: It would have something imported or called that is new to this program.
    """
    file: str | BytesIO
    if hasattr(source, "read"):
        file, name = BytesIO(source.read()), "the checkpoint"
    else:
        name = os.fspath(source)
        file = name
        if name.startswith(("http://", "https://")):
            file = str(download(name))
        elif "://" in name:
            file = BytesIO(get_file_backend(name).get(name))
    outline = read_outline(file, name)
    check(outline, name, whole=False)
    if "pytorch-lightning_version" not in outline:
        raise CheckpointError(
            f"{name}: it is not one of Lightning's checkpoints → make the module, and load its weights with "
            "mm2pl.runner.load_checkpoint(module.model, path)"
        )
    for place in (key, *OLD_KEYS):
        values = outline.get(place) or {}
        if isinstance(values, dict):
            left = {argument: value for argument, value in values.items() if argument not in given}
            instead = "pass that argument to load_from_checkpoint(path, …) yourself"
            require_known({place: left}, name, instead)
    if not isinstance(file, str):
        file.seek(0)
    return file
