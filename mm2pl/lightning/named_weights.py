"""A LightningModule whose weights have two names: its own, and those of a file that MMEngine reads too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from mm2pl.checkpoint.fitting import Differences, misfit, require_tensors, told_by_name
from mm2pl.checkpoint.names import INNER, OUTER, rename_for_module
from mm2pl.lightning.from_file import FromKnownNames, reads_file
from mm2pl.lightning.private import LeanModule


class NamedWeights(FromKnownNames, LeanModule):
    """Load weights under either of their names (:mod:`mm2pl.checkpoint.names`).

    Attributes:
        model: Has the weights that a file names without a prefix.
    """

    model: torch.nn.Module

    def __init__(self) -> None:
        super().__init__()
        self._loads_strictly = False
        # `load_from_checkpoint`, averaging and `load_state_dict` by hand come past here; a Trainer's files are renamed
        # at its border.
        self.register_load_state_dict_pre_hook(_take_names_of_files)
        # First of all hooks, so that a subclass changes what the model says.
        self.register_state_dict_post_hook(_let_the_model_say)

    @property
    def strict_loading(self) -> bool:
        """Return whether a Trainer's checkpoint must fit exactly: only on demand, since MMEngine's need not."""
        return self._loads_strictly

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        self._loads_strictly = value

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights as torch does, under the module's names or those of a file.

        No hook could judge what fits: those of torch 2.13 know neither ``strict`` nor all that was found.

        Raises:
            CheckpointError: torch refuses them, or they are a file's and none fits; one message says which do not.
        """
        given = OrderedDict(state_dict)
        rename_for_module(given, "", self.own_names())
        with told_by_name(self, given, strict):
            keys = super().load_state_dict(state_dict, strict, assign)
        # A caller gets the keys, as from torch; of a file without one that fits, Lightning 2.6 would warn and go on.
        if reads_file.get() and given and len(keys.unexpected_keys) >= len(given):
            found = Differences(tuple(keys.missing_keys), tuple(keys.unexpected_keys))
            raise misfit(self, found, len(given))
        return keys

    def outer_weights(self) -> dict[str, Any]:
        """Return the weights of a subclass, those that are not the model's, under their names in a file."""
        own = self.state_dict().items()
        return {OUTER + name: part for name, part in own if not name.startswith(INNER)}

    def own_names(self) -> list[str]:
        """Return the names of the weights, as :meth:`state_dict` has them, without collecting the weights."""
        return [name for name, _ in chain(self.named_parameters(), self.named_buffers())]


def _take_names_of_files(
    module: NamedWeights, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    rename_for_module(state_dict, prefix, module.own_names())
    own = (*module.named_parameters(), *module.named_buffers())
    require_tensors({prefix + name: tensor for name, tensor in own}, state_dict)


def _let_the_model_say(
    module: NamedWeights, state_dict: dict[str, Any], prefix: str, _: object
) -> None:
    """Put what the model's own ``state_dict()`` returns into the module's, in place.

    Of a part torch takes what it adds to the dict of the whole, and not what it returns. Its hooks get the names with a
    prefix. MMEngine saves the model, where both count.
    """
    if prefix:  # itself a part, as of FSDP, whose weights only the whole knows
        return
    # torch tells no hook of `keep_vars`.
    kept = any(isinstance(value, torch.nn.Parameter) for value in state_dict.values())
    said = module.model.state_dict(keep_vars=kept) if kept else module.model.state_dict()
    own = {INNER + name: value for name, value in said.items()}
    for name in [name for name in state_dict if name.startswith(INNER) and name not in own]:
        del state_dict[name]
    state_dict.update(own)
