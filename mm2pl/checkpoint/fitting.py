"""Put the weights of a file into a model that may differ from the one that wrote it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.schema import SHORT
from mm2pl.checkpoint.weights import (
    Mismatch,
    get_state_dict,
    load_state_dict,
    with_own_names,
    within_wrapper,
)

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Differences:
    """How the weights of a file differ from a model's; false if they do not.

    Attributes:
        missing: Names that the file lacks; the model keeps its own values.
        unexpected: Names that the model lacks; they are left out.
        shapes: By name the shape in the file and that in the model, where they differ. The model keeps its own values,
            unless it converts the file's when it loads them.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: Mapping[str, Shapes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def __str__(self) -> str:
        found = [
            f"{name} is {file} in the file and {own} in the model"
            for name, (file, own) in self.shapes.items()
        ]
        parts = [*found[:3], *([f"{len(found) - 3} more shapes differ"] if found[3:] else [])]
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                some = ", ".join(sorted(names)[:3])
                parts.append(f"{len(names)} {what} ({some}{', …' if names[3:] else ''})")
        return "; ".join(parts)


def take_weights(
    model: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
) -> tuple[dict[str, Any], Differences]:
    """Load what overlaps into a model, and report the rest as MMEngine does.

    It is loaded here and not only chosen, because models rename and resize weights while they load them, and only
    after that it is known what is missing. A part of another run is enough: a file may hold only what was trained.

    Args:
        model: A model; wrappers are looked through.
        state_dict: Weights by name, also with the prefixes of Lightning, DDP and ``torch.compile``.
        strict: Refuse any difference, before the model is changed.
        logger: As for :func:`mm2pl.logging.print_log`.

    Returns:
        The state dict that the model now has, so that loading it once more changes nothing; and the differences.

    Raises:
        CheckpointError: Less than half of the tensors fit, counted in the smaller of model and file; or
            ``strict``, and they differ. The model has its values from before.
    """
    inner = within_wrapper(model)
    own = get_state_dict(inner)
    weights = with_own_names(own, state_dict)
    require_tensors(own, weights)
    before = differences(own, weights)
    # A model that keeps weights out of its files does not miss them there.
    if strict and replace(before, missing=_wanted(inner, before.missing)):
        raise CheckpointError(
            f"these weights do not fit {type(inner).__name__}: {before}. The module's strict_loading is True → leave "
            "that out to take what overlaps, or load the parts that fit with load_from"
        )
    # Names say too little of a model that renames what it loads: it is judged afterwards.
    saved = (
        {k: v.clone() for k, v in own.items() if _is_tensor(v)}
        if _few(before, own, weights)
        else {}
    )
    mismatch = load_state_dict(model, weights, logger=logger)
    after = Differences(_wanted(inner, mismatch.missing), mismatch.unexpected, before.shapes)
    if saved and _few(_without_converted(after, mismatch), own, weights):
        load_state_dict(inner, {**own, **saved}, logger="silent")
        raise CheckpointError(
            f"these weights do not fit {type(inner).__name__}: {after}. Less than half of them would be taken → is "
            "this the checkpoint of another model or config? load_from takes what fits, and starts a new run"
        )
    # Not the model's own method, which may return only what was trained.
    return nn.Module.state_dict(model), after


@contextmanager
def told_by_name(model: nn.Module, given: Mapping[str, Any], strict: bool) -> Iterator[None]:
    """Say in one message which weights do not fit, where torch's ``load_state_dict`` needs a line for each.

    Args:
        model: A model.
        given: Weights by the names that they have in it.
        strict: Whether names must be the same too, besides shapes.

    Raises:
        CheckpointError: torch has refused them; what fits has been taken, as it does.
    """
    try:
        yield
    except RuntimeError as error:
        # Only now: of a sharded model this gathers all weights.
        found = differences(get_state_dict(model), given)
        if isinstance(error, CheckpointError) or not (found if strict else found.shapes):
            raise
        raise misfit(model, found, len(given)) from error


def misfit(model: nn.Module, found: Differences, count: int) -> CheckpointError:
    """Return what to say of ``count`` weights that differ from a model's."""
    fitting = count - len(found.unexpected) - len(found.shapes)
    some = ", or take what fits with mm2pl.runner.load_checkpoint(module.model, path)"
    return CheckpointError(
        f"these weights do not fit {type(model).__name__}: {found}. {fitting} of {count} fit → make it with the model "
        f"that they are of{some if fitting else ''}"
    )


def require_tensors(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse something else than a tensor where a model has one.

    Raises:
        CheckpointError: Naming the weight and what was found.
    """
    for name in own.keys() & given.keys():
        if _is_tensor(own[name]) and not _is_tensor(given[name]):
            found = given[name]
            raise CheckpointError(
                f"the weight {name} is {SHORT.repr(found)} ({type(found).__name__}) → a tensor is needed"
            )


def _wanted(model: nn.Module, missing: tuple[str, ...]) -> tuple[str, ...]:
    """Return the missing names, except those that the model itself leaves out of its state dict."""
    if not missing:
        return missing
    saved = model.state_dict()
    return tuple(name for name in missing if name in saved)


def _without_converted(found: Differences, mismatch: Mismatch) -> Differences:
    """Return the differences without the shapes that the model has converted."""
    kept = {k: s for k, s in found.shapes.items() if any(f" {k}:" in e for e in mismatch.errors)}
    return Differences(found.missing, found.unexpected, kept)


def _few(found: Differences, own: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether less than half of the smaller side fits."""
    fitting = len(given) - len(found.unexpected) - len(found.shapes)
    return 2 * fitting < min(len(own), len(given))


def differences(own: Mapping[str, Any], given: Mapping[str, Any]) -> Differences:
    """Compare names and shapes.

    >>> str(differences({"w": torch.zeros(2), "b": torch.zeros(1)}, {"w": torch.zeros(3)}))
    'w is (3,) in the file and (2,) in the model; 1 missing (b)'
    """
    return Differences(
        tuple(key for key in own if key not in given and "num_batches_tracked" not in key),
        tuple(key for key in given if key not in own),
        {
            key: (tuple(given[key].shape), tuple(value.shape))
            for key, value in own.items()
            # `get_extra_state` of a module puts any object into a state dict.
            if _is_tensor(value) and _is_tensor(given.get(key)) and given[key].shape != value.shape
        },
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)
