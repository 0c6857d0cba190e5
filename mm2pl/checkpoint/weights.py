"""Load weights into models, and collect them."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.reader import CheckpointError, MapLocation
from mm2pl.dist import get_dist_info
from mm2pl.errors import StateError
from mm2pl.logging import print_log
from mm2pl.registry.wrappers import is_model_wrapper

ReviseKeys = Iterable[tuple[str, str]]
_DDP_PREFIX = ((r"^module\.", ""),)

#: What other trainers put before every key: Lightning's attribute, DDP, torch.compile.
_FOREIGN_PREFIXES = ("model.", "module.", "_orig_mod.", "model._orig_mod.", "model.module.")


# Weights of a model


def load_state_dict(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
) -> Mismatch:
    """Copy weights into a model and report every key that does not match.

    Args:
        module: A model; wrappers such as DDP are looked through, at any depth.
        state_dict: Weights by name; not changed.
        strict: Raise instead of reporting. Missing ``num_batches_tracked`` is never a mismatch.
        logger: As for :func:`mm2pl.logging.print_log`; rank 0 reports.

    Raises:
        RuntimeError: Keys or shapes differ and ``strict`` is True, on every rank.
    """
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    # The versions of the modules, which a plain copy of the dict loses. Without one, torch's BatchNorm takes
    # the file for one from before `num_batches_tracked`.
    metadata = getattr(state_dict, "_metadata", None) or {}

    def load(part: nn.Module, weights: dict[str, Any], prefix: str) -> None:
        part = within_wrapper(part)
        # Always strict: else torch lists neither missing nor unexpected keys.
        part._load_from_state_dict(
            weights, prefix, metadata.get(prefix[:-1], {}), True, missing, unexpected, errors
        )
        for name, child in part._modules.items():
            if child is not None:
                inner = f"{prefix}{name}."
                load(child, {k: v for k, v in weights.items() if k.startswith(inner)}, inner)
        for hook in part._load_state_dict_post_hooks.values():
            hook(part, nn.modules.module._IncompatibleKeys(missing, unexpected))

    load(module, dict(state_dict), "")
    missing = [key for key in missing if "num_batches_tracked" not in key]
    mismatch = Mismatch(tuple(missing), tuple(unexpected), tuple(errors))
    if not mismatch:
        return mismatch
    if strict:
        raise StateError(mismatch.report())
    if get_dist_info()[0] == 0:
        print_log(mismatch.report(), logger=logger, level=logging.WARNING)
    return mismatch


@dataclass(frozen=True)
class Mismatch:
    """What did not match when weights were copied into a model; false if all did.

    Attributes:
        missing: Keys of the model that the weights lack.
        unexpected: Keys of the weights that the model lacks.
        errors: What torch says of tensors that could not be copied, such as those of another shape.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.errors)

    def report(self) -> str:
        """Return MMEngine's text, in its order."""
        problems = list(self.errors)
        for what, keys in (("unexpected key", self.unexpected), ("missing keys", self.missing)):
            if keys:
                problems.append(f"{what} in source state_dict: {', '.join(keys)}\n")
        return "\n".join(["The model and loaded state dict do not match exactly\n", *problems])


def within_wrapper(part: nn.Module) -> nn.Module:
    """Return the module whose names a file has: the one within a wrapper, or ``part`` itself."""
    return cast(nn.Module, part.module) if is_model_wrapper(part) or _augments_tests(part) else part


def _augments_tests(part: nn.Module) -> bool:
    """Return whether ``part`` is a model for test-time augmentation, whose file is that of the model within."""
    # MMEngine 0.10.7 looks for its BaseTTAModel. That stands above this room, and there are two where
    # MMEngine is installed. Both demand `merge_preds` of every subclass, and keep the model so.
    merges = callable(getattr(part, "merge_preds", None))
    return merges and isinstance(getattr(part, "module", None), nn.Module)


def get_state_dict(
    module: nn.Module,
    destination: dict[str, Any] | None = None,
    prefix: str = "",
    keep_vars: bool = False,
) -> dict[str, Any]:
    """Collect a model's weights, looking through wrappers such as DDP at any depth.

    Args:
        module: A model.
        destination: An OrderedDict with ``_metadata`` to add to; a new one if missing.
        prefix: Put before every key.
        keep_vars: Return the parameters themselves, not detached tensors.
    """
    if is_model_wrapper(module):
        module = cast(nn.Module, module.module)
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()  # type: ignore[attr-defined]
    local_metadata = {"version": module._version}
    destination._metadata[prefix[:-1]] = local_metadata  # type: ignore[attr-defined]
    for pre_hook in module._state_dict_pre_hooks.values():
        pre_hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            get_state_dict(child, destination, f"{prefix}{name}.", keep_vars)
    for hook in module._state_dict_hooks.values():
        replaced = hook(module, destination, prefix, local_metadata)
        destination = destination if replaced is None else replaced
    return destination


def weights_to_cpu(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of ``state_dict`` on the CPU; nested containers keep their types, ``_metadata`` stays."""
    on_cpu = _to_cpu(state_dict)
    on_cpu._metadata = getattr(state_dict, "_metadata", OrderedDict())
    return on_cpu


def _to_cpu(value: Any) -> Any:
    if hasattr(value, "cpu"):
        return value.cpu()
    if isinstance(value, dict):
        # A plain dict takes no attribute, and `_metadata` has to stay.
        made = type(value)() if type(value) is not dict else OrderedDict()
        made.update((key, _to_cpu(item)) for key, item in value.items())
        return made
    # A namedtuple would take its fields one by one.
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_to_cpu(item) for item in value)
    return value


# Loading


def load_checkpoint(
    model: nn.Module,
    filename: str,
    map_location: MapLocation = None,
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    revise_keys: ReviseKeys = _DDP_PREFIX,
    *,
    weights_only: bool = True,
) -> dict[str, Any]:
    """Load weights from MMEngine's, MMCV's or Lightning's checkpoint, or a bare state dict, into a model.

    Args:
        model: A model.
        filename: A path, URL or model zoo name; see :class:`CheckpointLoader`.
        map_location: As for ``torch.load``.
        strict: Raise if keys or shapes differ.
        logger: Reports differences.
        revise_keys: Regular expressions and what replaces them in the file's keys.
        weights_only: ``False`` runs any code that the file contains; only for files whose origin you trust.

    Returns:
        The file's content.

    Raises:
        CheckpointError: The file cannot be read, holds no weights, or none of its keys is the model's.
        RuntimeError: Keys or shapes differ and ``strict`` is True.
    """
    checkpoint = _load_checkpoint(filename, map_location, logger, weights_only=weights_only)
    _require_names(checkpoint, filename)
    try:
        return load_checkpoint_to_model(model, checkpoint, strict, logger, revise_keys)
    except (CheckpointError, StateError) as error:
        raise type(error)(f"{filename}: {error}") from None


def load_checkpoint_to_model(
    model: nn.Module,
    checkpoint: dict[str, Any],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    revise_keys: ReviseKeys = _DDP_PREFIX,
) -> dict[str, Any]:
    """Load the weights of a checkpoint that has been read already, and return it.

    Raises:
        CheckpointError: No key is one of the model's, though both have weights.
        RuntimeError: Keys or shapes differ and ``strict`` is True.
    """
    weights = checkpoint.get("state_dict", checkpoint)
    own = get_state_dict(within_wrapper(model)).keys()
    load_state_dict(model, with_own_names(own, weights, revise_keys), strict, logger)
    return checkpoint


def with_own_names(
    own: Collection[str], weights: Mapping[str, Any], revise_keys: ReviseKeys = _DDP_PREFIX
) -> Mapping[str, Any]:
    """Return weights under a model's names, as far as regular expressions and known prefixes make them so.

    Raises:
        CheckpointError: No key is one of the model's, though both have weights.
    """
    revised = OrderedDict(weights.items())
    for pattern, replacement in revise_keys:
        # MMEngine 0.10.7 takes this prefix of DDP's also from a model's own part of that name, and loses it.
        if pattern in ("^module.", r"^module\.") and any(
            k in own for k in revised if k[:7] == "module."
        ):
            continue
        revised = OrderedDict((re.sub(pattern, replacement, k), v) for k, v in revised.items())
    # MMEngine 0.10.7 would warn, and go on with the weights that were drawn at the start.
    if own and revised and not revised.keys() & set(own):
        revised = _without_foreign_prefix(revised, own)
    if hasattr(weights, "_metadata"):
        # Its names are not revised, as in MMEngine; a name that is not found counts as without a version.
        revised._metadata = weights._metadata  # type: ignore[attr-defined]
    return revised


_load_checkpoint_to_model = load_checkpoint_to_model


def _without_foreign_prefix(
    weights: OrderedDict[str, Any], own: Collection[str]
) -> OrderedDict[str, Any]:
    for prefix in _FOREIGN_PREFIXES:
        stripped = OrderedDict((str(k).removeprefix(prefix), v) for k, v in weights.items())
        if stripped.keys() & set(own):
            return stripped
    raise CheckpointError(
        f"none of its {len(weights)} keys ({_some(weights)}) is one of the model's ({_some(own)}) → these are "
        "another model's weights; if they are a part of this one, revise_keys can rename them"
    )


def _some(keys: Iterable[str], count: int = 3) -> str:
    names = [str(key) for key in keys]
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")


def _load_checkpoint(
    filename: str,
    map_location: MapLocation = None,
    logger: logging.Logger | str | None = None,
    *,
    weights_only: bool = True,
) -> Any:
    """Read a checkpoint from a path, URL or model zoo name."""
    return CheckpointLoader.load_checkpoint(
        filename, map_location, logger, weights_only=weights_only
    )


class MissingPrefixError(CheckpointError, AssertionError):
    """A part of a model that a file does not have, where MMEngine has an ``assert``."""


def _require_names(checkpoint: Any, filename: str) -> None:
    """Refuse the content of a file that has no weights by names."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f"No state_dict found in checkpoint file {filename}: it holds a {type(checkpoint).__name__}"
        )
    for name in checkpoint.get("state_dict", checkpoint):
        if not isinstance(name, str):
            raise CheckpointError(f"{filename} has the key {name!r} → weights by name are needed")


def _load_checkpoint_with_prefix(
    prefix: str, filename: str, map_location: MapLocation = None
) -> dict[str, Any]:
    """Read the weights of one part of a model, without the part's name in the keys.

    Raises:
        MissingPrefixError: The file has no such part.
    """
    checkpoint = _load_checkpoint(filename, map_location=map_location)
    _require_names(checkpoint, filename)
    weights = checkpoint.get("state_dict", checkpoint)
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    part = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    if not part:
        raise MissingPrefixError(
            f"{prefix} is not in the pretrained model {filename}, whose keys are {_some(weights)}"
        )
    return part
