"""``mmengine.runner.activation_checkpointing``: activations are computed twice to save memory."""

from mm2pl.model.activation_checkpointing import (
    turn_on_activation_checkpointing as turn_on_activation_checkpointing,
)
