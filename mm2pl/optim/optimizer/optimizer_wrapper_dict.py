"""Several optimizer wrappers by name, for models with several optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import nn

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.optim.abilities import is_optim_wrapper
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper


class OptimWrapperDict(OptimWrapper):
    """A mapping from names to optimizer wrappers; stands for `mmengine.optim.OptimWrapperDict`.

    States, learning rates and momenta are collected; updating is left to each wrapper.

    Args:
        **optim_wrapper_dict: The wrappers, by the names that parameter schedules and checkpoints use for them.

    Raises:
        ArgumentError: A value is not an OptimWrapper.

    Example:
        >>> gen, disc = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> wrappers = {
        ...     "gen": OptimWrapper(torch.optim.SGD(gen.parameters(), lr=0.01)),
        ...     "disc": OptimWrapper(torch.optim.SGD(disc.parameters(), lr=0.02)),
        ... }
        >>> OptimWrapperDict(**wrappers).get_lr()
        {'gen.lr': [0.01], 'disc.lr': [0.02]}
    """

    def __init__(self, **optim_wrapper_dict: OptimWrapper) -> None:
        for name, wrapper in optim_wrapper_dict.items():
            if not is_optim_wrapper(wrapper):
                raise ArgumentError(
                    f"{name}={type(wrapper).__name__} → `OptimWrapperDict` only accepts OptimWrappers."
                )
        # Without `super().__init__`: there is no optimizer of its
        # own, and the class is an OptimWrapper only for isinstance.
        self.optim_wrappers = optim_wrapper_dict

    def _each(self, method: str) -> NoReturn:
        names = list(self.optim_wrappers)
        raise NotImplementedError(
            f"`{method}` should be called of one of the wrappers, since it acts on one optimizer → "
            f"optim_wrapper[name].{method}, with a name in {names}."
        )

    def update_params(
        self,
        loss: torch.Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Raise NotImplementedError: call that of one wrapper."""
        self._each("update_params")

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Raise NotImplementedError: call that of one wrapper."""
        self._each("backward")

    def step(self, **kwargs: Any) -> None:
        """Raise NotImplementedError: call that of one wrapper."""
        self._each("step")

    def optim_context(self, model: nn.Module) -> NoReturn:
        """Raise NotImplementedError: use that of one wrapper."""
        self._each("optim_context")

    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients of all."""
        for wrapper in self.values():
            # MMEngine 0.10.7 drops the arguments.
            wrapper.zero_grad(**kwargs)

    def initialize_count_status(self, model: nn.Module, cur_iter: int, max_iters: int) -> None:
        """Do nothing: how often each wrapper updates is the model's affair."""

    @property
    def param_groups(self) -> dict[str, list[dict[str, Any]]]:  # type: ignore[override]
        """The param groups by wrapper."""
        return {name: wrapper.param_groups for name, wrapper in self.items()}

    def get_lr(self) -> dict[str, list[float]]:
        """Return every wrapper's learning rates, as ``<name>.lr`` and ``<name>.base_lr``."""
        return self._prefixed("get_lr")

    def get_momentum(self) -> dict[str, list[float]]:
        """Return every wrapper's momenta, as ``<name>.momentum``."""
        return self._prefixed("get_momentum")

    def _prefixed(self, method: str) -> dict[str, list[float]]:
        return {
            f"{name}.{key}": value
            for name, wrapper in self.items()
            for key, value in getattr(wrapper, method)().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the states by name."""
        return {name: wrapper.state_dict() for name, wrapper in self.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        # By the names of the state: one that is not here is an error, as in MMEngine.
        for name, state in state_dict.items():
            self[name].load_state_dict(state)

    def items(self) -> Iterator[tuple[str, OptimWrapper]]:
        """Iterate over names and wrappers."""
        # A generator, as in MMEngine, and not a view.
        yield from self.optim_wrappers.items()

    def values(self) -> Iterator[OptimWrapper]:
        """Iterate over the wrappers."""
        yield from self.optim_wrappers.values()

    def keys(self) -> Iterator[str]:
        """Iterate over the names."""
        yield from self.optim_wrappers.keys()

    def __getitem__(self, key: str) -> OptimWrapper:
        if key not in self.optim_wrappers:
            raise MissingWrapperError(
                f"there is no optimizer wrapper {key!r}: the constructor made "
                f"{list(self.optim_wrappers)}."
            )
        return self.optim_wrappers[key]

    def __contains__(self, key: str) -> bool:
        return key in self.optim_wrappers

    def __len__(self) -> int:
        return len(self.optim_wrappers)

    def __repr__(self) -> str:
        return "".join(f"name: {name}\n{wrapper!r}" for name, wrapper in self.items())


class MissingWrapperError(ReadableKeyError, AssertionError):
    """A name that an OptimWrapperDict does not have; MMEngine asserts it."""
