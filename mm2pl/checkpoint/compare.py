"""What differs between a checkpoint and the run that goes on from it, and which of the two is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from mm2pl.version import __version__

Facts = Mapping[str, Any]

KEY = "mm2pl_facts"
"""Where a file has the facts of the run that wrote it; MMEngine and Lightning read past it."""

HERE = "this run's"
FILE = "the checkpoint's"
_NONE: Mapping[str, str] = MappingProxyType({})


def versions() -> dict[str, str]:
    """Return the versions that a file tells."""
    return {"mm2pl": __version__, "torch": str(torch.__version__)}


def facts_of_file(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file tells of its run: all that mm2pl notes, and of MMEngine's files what they have.

    >>> facts_of_file({"meta": {"seed": 1}, "message_hub": {"runtime_info": {"max_epochs": 3}}})
    {'max_epochs': 3, 'seed': 1, 'groups': {}}
    """
    info = (checkpoint.get("message_hub") or {}).get("runtime_info", {})
    facts = {name: info[name] for name in ("max_epochs", "max_iters") if name in info}
    facts |= checkpoint.get(KEY) or {}
    meta = checkpoint.get("meta", {})
    if meta.get("seed") is not None:
        facts["seed"] = meta["seed"]
    optimizer = checkpoint.get("optimizer", {})
    several = {"": optimizer} if "param_groups" in optimizer else optimizer
    facts["groups"] = {name: groups_of(state["param_groups"]) for name, state in several.items()}
    return facts


def groups_of(param_groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is compared of an optimizer's groups: the values from before any schedule."""
    return [
        {"lr": group.get("initial_lr", group.get("lr")), "weight_decay": group.get("weight_decay")}
        for group in param_groups
    ]


class Row(NamedTuple):
    """How a fact is compared.

    Attributes:
        what: Its name in the report.
        keys: The entries of the facts; it is compared where both sides have one.
        text: How the entries are written.
        used: Which side is used.
    """

    what: str
    keys: tuple[str, ...]
    text: Callable[..., str]
    used: str = HERE


def _length(epochs: int | None, iters: int | None) -> str:
    parts = [f"{n} {unit}" for n, unit in ((epochs, "epochs"), (iters, "iterations")) if n]
    return ", ".join(parts) or "no end"


ROWS = (
    Row("optimizer class", ("optimizers",), lambda by_name: _listed(by_name.values())),
    Row("loop", ("loop",), str),
    Row("length", ("max_epochs", "max_iters"), _length),
    Row("epoch length", ("epoch_length",), lambda n: f"{n} iterations"),
    Row("batch size", ("batch_size",), str),
    Row("data set", ("data_length",), lambda n: f"{n} samples"),
    Row("seed", ("seed",), str, FILE),
    Row("processes", ("processes",), str),
    Row(
        "versions",
        ("versions",),
        lambda of: ", ".join(f"{name} {version}" for name, version in of.items()),
    ),
)
"""Line by line; what is not here has lines of its own."""


def compare(file: Facts, here: Facts, used: Mapping[str, str] = _NONE) -> list[str]:
    """Return a line for each fact that differs: what, the file's, this run's, and which is used.

    Args:
        file: Of :func:`facts_of_file`; an entry that one side lacks is not compared.
        here: Of the run that goes on.
        used: For ``lr`` and ``weight_decay`` which side is used, if it is not the checkpoint.

    Example:
        >>> compare({"batch_size": 8, "seed": 1}, {"batch_size": 4, "seed": 1})
        ["batch size: checkpoint 8 ↔ here 4 → this run's"]
    """
    lines = _group_lines(file.get("groups", {}), here.get("groups", {}), used)
    for row in ROWS:
        sides = [[facts.get(key) for key in row.keys] for facts in (file, here)]
        if any(None not in pair and pair[0] != pair[1] for pair in zip(*sides, strict=True)):
            lines.append(line(row.what, row.text(*sides[0]), row.text(*sides[1]), row.used))
    return lines


def line(what: str, file: str, here: str, used: str) -> str:
    """Return a line of the report.

    >>> line("seed", "1", "2", FILE)
    "seed: checkpoint 1 ↔ here 2 → the checkpoint's"
    """
    return f"{what}: checkpoint {file} ↔ here {here} → {used}"


def _group_lines(file: Facts, here: Facts, used: Mapping[str, str]) -> list[str]:
    lines = []
    for name in file.keys() & here.keys():
        for entry in ("lr", "weight_decay"):
            sides = [[group[entry] for group in side[name]] for side in (file, here)]
            if sides[0] != sides[1]:
                what = f"{name}: {entry}" if name else entry
                texts = [_listed(side) for side in sides]
                lines.append(line(what, texts[0], texts[1], used.get(entry, FILE)))
    return lines


def _listed(values: Iterable[Any]) -> str:
    """Write values, equal ones once.

    >>> _listed([0.1, 0.1, 0.01])
    '0.1, 0.01'
    """
    return ", ".join(dict.fromkeys(str(value) for value in values))


def schedule_lines(
    pairs: Iterable[tuple[str, Facts | None, Facts]],
    left_over: Iterable[str],
    used: str,
    new: str,
) -> list[str]:
    """Return a line for each schedule that differs.

    Args:
        pairs: Per schedule of the run its class, its arguments in the file if it has a state there, and its own.
        left_over: The kinds of the states that no schedule has taken.
        used: Whose arguments are used where they differ.
        new: What becomes of a schedule that has no state.

    Example:
        >>> schedule_lines([("StepLR", {"gamma": 0.1, "end": 3}, {"gamma": 0.5, "end": 3})], [], FILE, "")
        ["schedule StepLR: checkpoint gamma=0.1 ↔ here gamma=0.5 → the checkpoint's"]
    """
    lines = []
    for name, file, own in pairs:
        if file is None:
            lines.append(f"schedule {name}: not in the checkpoint → {new}")
            continue
        other = [key for key, value in own.items() if key in file and file[key] != value]
        if other:
            sides = [", ".join(f"{key}={_plain(of[key])!r}" for key in other) for of in (file, own)]
            lines.append(line(f"schedule {name}", sides[0], sides[1], used))
    lines += [f"schedule {kind} of the checkpoint: not in this run → dropped" for kind in left_over]
    return lines


def _plain(value: Any) -> Any:
    # Milestones are a Counter until a state is loaded.
    return dict(value) if isinstance(value, dict) else value


def block(lines: Iterable[str]) -> str:
    """Return the report: what differs, or that nothing does.

    >>> block([])
    'Checkpoint ↔ this run: nothing differs.'
    """
    found = list(lines)
    if not found:
        return "Checkpoint ↔ this run: nothing differs."
    return "\n".join(
        ["Checkpoint ↔ this run, where they differ:", *(f"  {each}" for each in found)]
    )
