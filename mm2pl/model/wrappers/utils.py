"""MMEngine's import path of `is_model_wrapper`."""

from mm2pl.registry.wrappers import is_model_wrapper as is_model_wrapper
