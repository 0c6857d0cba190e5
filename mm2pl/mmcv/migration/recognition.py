"""Whose transforms and data sets a 1.x config names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.migration.decisions import AS_SEEN, NONE, Choices, Decision, Sure
from mm2pl.mmcv.migration.toolboxes import KNOWN_SCOPES, TOOLBOXES, Toolbox

_OTHERWISE = f"--toolbox {', '.join(box.scope for box in TOOLBOXES)} or {NONE}"


def recognise(
    config: Mapping[str, Any], choices: Choices = AS_SEEN
) -> tuple[Toolbox | None, Decision | None]:
    """Return the toolbox of a config and the decision that led to it.

    The toolbox is None for a project's own parts. The decision is None where nothing in the config tells.

    What a pipeline collects tells the form of the samples, but a project of anyone's may collect the same. So a
    toolbox is concluded only where a data set, a model or a transform is the toolbox's as well.

    Raises:
        ArgumentError: The chosen toolbox is not known.
    """
    told = _told(choices)
    if told is not None:
        box = None if told == NONE else KNOWN_SCOPES[told]
        return box, _decision(f"--toolbox {told}", box, Sure.TOLD)
    # A config that was migrated in part names its scope already.
    scope = config.get("default_scope", "")
    if scope in KNOWN_SCOPES:
        box = KNOWN_SCOPES[scope]
        return box, _decision(f"default_scope={scope!r}", box, Sure.CERTAIN)
    collected = set(_collected(config))
    box = next((b for b in TOOLBOXES if b.collected in collected), None)
    if box is None or packs_samples(config):
        # A file with data of its own, of MMDetection3D for instance, is not taken for what its neighbours are.
        return (None if pipelines_of(config) else KNOWN_SCOPES.get(choices.folder or "")), None
    seen = f"Collect(keys=[…, {box.collected!r}])"
    names = set(_types(config))
    telling = sorted(names & (box.datasets | box.models)) or sorted(names & box.transforms)
    if not telling:
        return None, _decision(
            f"{seen}, but no data set or model of {box.scope}", None, Sure.UNSURE
        )
    sure = Sure.CERTAIN if names & (box.datasets | box.models) else Sure.LIKELY
    return box, _decision(f"{seen} and {telling[0]}", box, sure)


def _told(choices: Choices) -> str | None:
    known = (*KNOWN_SCOPES, NONE)
    if choices.toolbox is not None and choices.toolbox not in known:
        raise ArgumentError(f"toolbox={choices.toolbox!r} → one of {', '.join(known)}.")
    return choices.toolbox or (choices.scope if choices.scope in known else None)


def _decision(seen: str, box: Toolbox | None, sure: Sure) -> Decision:
    what = f"{box.scope}'s" if box else "the project's own"
    return Decision(
        about="toolbox",
        seen=seen,
        concluded=f"transforms and data sets are {what}",
        sure=sure,
        otherwise=_OTHERWISE,
    )


def pipelines_of(config: Mapping[str, Any]) -> list[Any]:
    """Return what tells the toolbox: the data sets, and pipelines in variables."""
    return [v for k, v in config.items() if k == "data" or k.endswith("pipeline")]


def is_of_unknown(config: Mapping[str, Any], box: Toolbox | None) -> bool:
    """Return whether pipelines collect into the 1.x format of a toolbox, or a project, that is not known here."""
    # Also Collect3D of MMDetection3D 0.x, by the beginning of the name.
    return box is None and any(name.startswith("Collect") for name in _types(pipelines_of(config)))


def packs_samples(config: Mapping[str, Any]) -> bool:
    """Return whether it is of MMDetection3D or MMRotate, which collect boxes too and now make their own batches."""
    collected = set(_collected(config))
    others = {"gt_bboxes_3d", "points"} & collected
    return bool(others) or "angle_version" in config or "Collect3D" in set(_types(config))


def _types(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("type"), str):
            yield value["type"]
        for child in value.values():
            yield from _types(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _types(child)


def _collected(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        # What a pipeline collects tells the toolbox: names of transforms are the same in several.
        if str(value.get("type")).startswith("Collect"):
            yield from value.get("keys", ())
        for child in value.values():
            yield from _collected(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _collected(child)
