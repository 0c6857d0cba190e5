"""Whether the optimizers of a file are those of a run, and what of their state a changed model can use."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch

from mm2pl.checkpoint.alike import require_alike
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.schema import MAPPING, SHORT

State = Mapping[str, Any]

_OF_THE_PROGRAM = {"capturable", "differentiable"}
"""How torch steps, not what it computes: a file from a GPU may say what a CPU refuses."""

AVERAGES = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg")
"""What torch's optimizers keep per parameter, in its shape."""

_WAY_OUT = (
    "start it anew with resume_optimizer=False (--resume-optimizer false), or a new run from the weights alone with "
    "load_from"
)


def fitting_optimizers(
    wrappers: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    changed: Collection[Any] = (),
    classes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the optimizer entries of a checkpoint, such as the optimizers of a run can take them.

    Args:
        wrappers: The optimizer wrappers, or optimizers, by name; ``""`` is that of a single one.
        checkpoint: With ``optimizer`` (MMEngine's), ``optimizer_states`` (Lightning's) or both; not changed.
        changed: Parameters that have another shape in the file: their state and gradients begin anew.
        classes: The optimizers' classes, if the file tells them; by name, ``""`` for a single one.

    Raises:
        CheckpointError: They are other optimizers, or have other groups; both sides are named.
    """
    saved = _by_name(checkpoint, wrappers)
    if saved.keys() != wrappers.keys():
        raise CheckpointError(
            f"the checkpoint has the optimizers {_names(saved)} and this run {_names(wrappers)} → {_WAY_OUT}"
        )
    made = {
        name: fitting_state(each, saved[name], changed, (classes or {}).get(name))
        for name, each in wrappers.items()
    }
    entries: dict[str, Any] = {"optimizer_states": list(made.values())}
    if "optimizer" in checkpoint:
        entries["optimizer"] = made.get("", made)
    return entries


def _by_name(checkpoint: State, wrappers: Iterable[str]) -> dict[str, State]:
    if "optimizer" not in checkpoint:
        # Lightning's own files know no names, and keep the order of `configure_optimizers`.
        states, names = checkpoint["optimizer_states"], list(wrappers)
        fitting = len(states) == len(names)
        return dict(zip(names if fitting else map(str, range(len(states))), states, strict=True))
    optimizer = checkpoint["optimizer"]
    return {"": optimizer} if "param_groups" in optimizer else dict(optimizer)


def _names(optimizers: Iterable[str]) -> str:
    return ", ".join(name or "(a single one)" for name in optimizers) or "(none)"


def fitting_state(
    wrapper: Any, state: State, changed: Collection[Any] = (), written_by: str | None = None
) -> dict[str, Any]:
    """Return the state of one optimizer for the one that is there now.

    Entries that its groups have and the file's lack are added: an option that a newer torch has, or what a schedule
    that is new in the list has put there.

    Raises:
        CheckpointError: It is that of another class, or its groups have other numbers of parameters.
    """
    optimizer = getattr(wrapper, "optimizer", wrapper)
    _require_same(optimizer, state, written_by)
    # By identity: `in` would compare the values of tensors.
    anew = {id(param) for param in changed}
    params = [param for group in optimizer.param_groups for param in group["params"]]
    keys = [key for group in state["param_groups"] for key in group["params"]]
    if _is_stepped_by_torch(optimizer):
        for key, param in zip(keys, params, strict=True):
            if id(param) not in anew:
                _require_shapes(state["state"].get(key) or {}, param, key)
        _require_same_entries(state)
    _require_gradients(state, params, anew)
    dropped = {key for key, param in zip(keys, params, strict=True) if id(param) in anew}
    made = {**state, "state": {k: v for k, v in state["state"].items() if k not in dropped}}
    for number, (own, group) in enumerate(
        zip(optimizer.param_groups, state["param_groups"], strict=True)
    ):
        place = f"optimizer.param_groups.{number}"
        require_alike(_without_params(own), group, place)
        _require_pairs(own, group, place)
    made["param_groups"] = [
        {**_without_params(own), **group, **{k: own[k] for k in _OF_THE_PROGRAM & own.keys()}}
        for own, group in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    base = getattr(wrapper, "base_param_settings", None)
    if base is not None and state.get("base_param_settings") is not None:
        made["base_param_settings"] = {**base, **state["base_param_settings"]}
    if dropped and "accumulation" in state:
        made["accumulation"] = _without(state["accumulation"], _places(state, dropped))
    return made


def _is_stepped_by_torch(optimizer: Any) -> bool:
    """Return whether an optimizer steps by an algorithm of torch's, so that its state's form is known.

    Others keep what they like under the same names: GaLore's ``exp_avg`` has the shape of a projection.
    """
    # torch 2.13 wraps the method once more when the first optimizer of a class is made.
    own = inspect.unwrap(type(optimizer).step)
    return any(
        own is inspect.unwrap(each.step)
        for each in vars(torch.optim).values()
        if isinstance(each, type) and issubclass(each, torch.optim.Optimizer)
    )


def _require_shapes(values: Any, param: Any, key: Any) -> None:
    """Refuse what torch's optimizers keep of a parameter, if it is of another kind or shape."""
    place = f"optimizer.state.{key}"
    if not MAPPING.accepts(values):
        raise CheckpointError(f"{place} is {_found(values)} → a dict is needed")
    require_alike(0 if "step" in values else None, values.get("step"), f"{place}.step")
    for name in AVERAGES:
        value = values.get(name, param)
        # SGD without momentum writes None for its buffer; no other optimizer of torch's does.
        if name == "momentum_buffer" and value is None:
            continue
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{place}.{name} is {_found(value)} → a tensor is needed")
        if value.shape != param.shape:
            raise CheckpointError(
                f"{place}.{name} is {tuple(value.shape)} in the file, and the parameter is "
                f"{tuple(param.shape)} → take an undamaged file, or {_WAY_OUT}"
            )


def _found(value: object) -> str:
    return f"{SHORT.repr(value)} ({type(value).__name__})"


def _require_same_entries(state: State) -> None:
    """Refuse what is kept of a parameter if it has no entry in common with the others of its group."""
    for group in state["param_groups"]:
        kept = {key: state["state"].get(key) or {} for key in group["params"]}
        for key, values in kept.items():
            others = set().union(*(other for k, other in kept.items() if k != key))
            if values and others and not others & values.keys():
                raise CheckpointError(
                    f"optimizer.state.{key} has {_some(values)} → {_some(others)} is needed"
                )


def _some(keys: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, keys))[:4])


def _require_pairs(own: State, group: State, place: str) -> None:
    """Refuse a tuple of another length: it has its meaning by position, such as ``betas``."""
    for key, value in own.items():
        if isinstance(value, tuple) and key in group and len(group[key]) != len(value):
            raise CheckpointError(
                f"{place}.{key} has {len(group[key])} values → {len(value)} are needed"
            )


def _require_gradients(state: State, params: Collection[Any], anew: Collection[int]) -> None:
    """Refuse a gradient of an open window that has another shape than its parameter."""
    grads = (state.get("accumulation") or {}).get("grads") or []
    places = [
        f"{n}.{i}"
        for n, group in enumerate(state["param_groups"])
        for i in range(len(group["params"]))
    ]
    for number, window in enumerate(grads):
        for place, param in zip(places, params, strict=True):
            found = (window or {}).get(place)
            if found is not None and found.shape != param.shape and id(param) not in anew:
                raise CheckpointError(
                    f"optimizer.accumulation.grads.{number}.{place} is {tuple(found.shape)} in the file, and the "
                    f"parameter is {tuple(param.shape)} → take an undamaged file, or {_WAY_OUT}"
                )


def _places(state: State, keys: Collection[Any]) -> set[str]:
    """Return the names under which the gradients of an open window are kept: by group and place in it."""
    return {
        f"{number}.{place}"
        for number, group in enumerate(state["param_groups"])
        for place, key in enumerate(group["params"])
        if key in keys
    }


def _without(accumulation: State, names: Collection[str]) -> dict[str, Any]:
    windows = accumulation["grads"]
    kept = [{k: v for k, v in of.items() if k not in names} for of in windows]
    return {**accumulation, "grads": kept}


def _without_params(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _require_same(optimizer: Any, state: State, written_by: str | None) -> None:
    name, groups = type(optimizer).__name__, state["param_groups"]
    here = [len(group["params"]) for group in optimizer.param_groups]
    there = [len(group["params"]) for group in groups]
    keys: set[str] = set().union(*groups) if groups else set()
    # torch itself completes switches (`foreach`, …) that came with later releases, but no numbers.
    numbers = {k for k, v in optimizer.defaults.items() if isinstance(v, float | int | tuple)}
    lacks = sorted(k for k in numbers - keys if not isinstance(optimizer.defaults[k], bool))
    known = {*optimizer.defaults, *(k for group in optimizer.param_groups for k in group)}
    foreign = {k for k in keys - known if not k.startswith("initial_")}
    renamed = written_by not in (None, name) and (foreign or set(optimizer.defaults) - keys)
    if not (lacks or renamed or here != there):
        return
    file = written_by or (f"one with {', '.join(sorted(keys - {'params'}))}" if lacks else name)
    raise CheckpointError(
        f"the checkpoint's optimizer is {file} with {_sizes(there)}, this run's is {name} with {_sizes(here)}: the "
        f"state of one does not fit the other → {_WAY_OUT}"
    )


def _sizes(counts: list[int]) -> str:
    if len(counts) == 1:
        return f"1 group of {counts[0]} parameters"
    return f"{len(counts)} groups of {', '.join(map(str, counts[:8]))}{', …' if counts[8:] else ''} parameters"
