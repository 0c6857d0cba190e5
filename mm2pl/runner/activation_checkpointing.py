"""MMEngine's path of what is done to a model: see `mm2pl.model.activation_checkpointing`."""

from mm2pl.model.activation_checkpointing import (
    turn_on_activation_checkpointing as turn_on_activation_checkpointing,
)
