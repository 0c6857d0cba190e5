"""Models for several processes."""

from mm2pl.model.wrappers.utils import is_model_wrapper as is_model_wrapper
