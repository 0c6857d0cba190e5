"""Which parameters of a module an optimizer trains, also once they have been replaced, added or frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mm2pl.checkpoint.names import INNER

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class KnownParameters:
    """Remember which parameters a module has when its optimizer is built.

    Args:
        module: Whose parameters the optimizer trains.
    """

    def __init__(self, module: nn.Module) -> None:
        # The parameters themselves: another one may come to the address of one that is gone.
        self._known = dict(module.named_parameters())

    def are_outdated(self, module: nn.Module) -> bool:
        """Return whether the module has new parameters, which are neither these nor in the place of one of them."""
        ids = {id(parameter) for parameter in self._known.values()}
        # A wrapper changes the names of parameters (checkpointing), a sharding puts others under the same names.
        return any(
            name not in self._known and id(parameter) not in ids
            for name, parameter in module.named_parameters()
        )


class NamedGroups:
    """Remember by name what an optimizer was built for.

    It is built in ``setup``, as MMEngine's order has it. Before Lightning takes it, ``configure_model`` may put other
    parameters in the place of the module's (``fully_shard``), and callbacks may freeze some. Nothing has a state yet.

    Args:
        optimizer: Just built.
        module: Whose parameters it trains.
    """

    def __init__(self, optimizer: Optimizer, module: nn.Module) -> None:
        self.optimizer = optimizer
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._names = [
            [names.get(id(parameter)) for parameter in group["params"]]
            for group in optimizer.param_groups
        ]

    def follow(self, module: nn.Module, leave_out_frozen: bool) -> None:
        """Train the parameters that the module has now under the names of those that were given.

        Args:
            module: The same module.
            leave_out_frozen: Drop what is frozen, since who has frozen it adds it again later. MMEngine keeps it.
        """
        now = dict(module.named_parameters())
        for group, names in zip(self.optimizer.param_groups, self._names, strict=False):
            current = [
                parameter if name is None else now.get(name, parameter)
                for parameter, name in zip(group["params"], names, strict=True)
            ]
            group["params"] = [p for p in current if p.requires_grad or not leave_out_frozen]
        self._names = NamedGroups(self.optimizer, module)._names


def add_own_parameters(optimizer: Optimizer, module: nn.Module) -> None:
    """Give an optimizer that was built for the model the other parameters of the module, as a group at the end."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = [
        parameter
        for name, parameter in module.named_parameters()
        if not name.startswith(INNER) and id(parameter) not in trained
    ]
    if own:
        optimizer.add_param_group({"params": own})
