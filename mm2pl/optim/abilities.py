"""What an optimizer wrapper can do, no matter who wrote its class: ours, MMEngine's own or a project's."""

from __future__ import annotations

from typing import Any

_OF_WRAPPERS = ("update_params", "param_groups", "state_dict", "load_state_dict")


def is_optim_wrapper(value: object) -> bool:
    """Return whether a value is a built optimizer wrapper, of one optimizer or of several."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in _OF_WRAPPERS)


def holds_several(value: object) -> bool:
    """Return whether a value is a mapping from names to optimizer wrappers that is a wrapper itself."""
    return is_optim_wrapper(value) and hasattr(value, "items")


def can_be_built(value: object) -> bool:
    """Return whether an optimizer wrapper can be built from this as often as one likes: no part of it is built."""
    if not isinstance(value, dict):
        return False
    if "optimizer" in value:
        return isinstance(value["optimizer"], dict)
    return "constructor" in value


def wrappers_of(optim_wrapper: Any) -> dict[str, Any]:
    """Return the single wrappers by name; one alone has the name ``""``.

    Example:
        >>> wrappers_of(None)
        {'': None}
    """
    return dict(optim_wrapper.items()) if holds_several(optim_wrapper) else {"": optim_wrapper}


def has_executor(wrapper: object) -> bool:
    """Return whether another object can do backward, step and casts for a wrapper.

    MMEngine 0.10.7's wrappers do them themselves.
    """
    return hasattr(wrapper, "executor")


def casts(wrapper: object) -> bool:
    """Return whether a wrapper computes in a type of its own and scales the loss."""
    return hasattr(wrapper, "loss_scaler") and hasattr(wrapper, "cast_dtype")
