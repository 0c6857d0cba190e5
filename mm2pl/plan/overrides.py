"""Changes of a config that nothing reads, and the keys that were probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mm2pl.closest import did_you_mean, misspelt
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, short
from mm2pl.plan.keys import KEYS
from mm2pl.plan.legacy import LEGACY


def without_effect(
    changes: Mapping[str, Any], config: Mapping[str, Any], word: str = "--cfg-options"
) -> list[Fault]:
    """Return a warning for each change without effect.

    Args:
        changes: What is to be changed, by dotted key.
        config: The config before the change.
        word: What says so.

    >>> (fault,) = without_effect({"lr": 0.5}, {"optim_wrapper": {"optimizer": {"lr": 1}}})
    >>> fault.why, fault.advice
    ('nothing reads it, unless a hook asks runner.cfg', "Did you mean 'optim_wrapper.optimizer.lr'?")
    """
    return [
        Fault(
            path=key,
            given=short(value),
            why=why,
            advice=did_you_mean(meant).strip(),
            severity="warning",
            origin=word,
        )
        for key, value in changes.items()
        for why, meant in _doubts(key, config)
    ]


def _doubts(key: str, config: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield why a change has no effect, with the keys that may be meant."""
    top = key.partition(".")[0]
    if top in KEYS:
        if near := _misspelt_below(key, config):
            yield "the config has no such key", [near]
    # The table of keys says these of the config itself.
    elif top not in LEGACY and not misspelt(top, KEYS):
        # MMEngine's configs are Python: a variable has done its work when the file has been read.
        where = (
            "a variable of the config, which has been read already"
            if top in config
            else "nothing reads it"
        )
        yield f"{where}, unless a hook asks runner.cfg", near_keys(key, config)[:3]


def _misspelt_below(key: str, config: Any) -> str | None:
    """Return the key that exists where one differs from it by a letter: ``optim_wrapper.optimzer.lr``."""
    path = ""
    for part in key.split(".")[:-1]:
        if not isinstance(config, Mapping):
            return None
        if part not in config:
            near = misspelt(part, config)
            # stage4 is as good a name as stage3
            numbered = near and near.rstrip("0123456789") == part.rstrip("0123456789")
            return join(path, near) if near and not numbered else None
        config, path = config[part], join(path, part)
    return None


def near_keys(key: str, config: Mapping[str, Any]) -> list[str]:
    """Return the keys that a run reads and that end as ``key`` does, the shortest first.

    >>> near_keys("batch_size", {"train_dataloader": {"batch_size": 4}})
    ['train_dataloader.batch_size']
    """
    run = {name: value for name, value in config.items() if name in KEYS}
    known = [
        f"{name}.{below}"
        for name, key in KEYS.items()
        if name in run and key.inside is not None
        for below in key.inside.keys
    ]
    paths = dict.fromkeys([*_paths(run), *known])
    for ending in (key, key.rpartition(".")[2]):
        if found := [path for path in paths if path.endswith(f".{ending}")]:
            return sorted(found, key=lambda path: path.count("."))
    return []


def _paths(value: object, path: str = "") -> Iterator[str]:
    items: Any = value.items() if isinstance(value, Mapping) else ()
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        yield join(path, key)
        yield from _paths(item, join(path, key))
