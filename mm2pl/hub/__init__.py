"""Configs and models of installed toolboxes by ``package::path`` (``mmengine.hub``)."""

from mm2pl.hub.hub import get_config as get_config
from mm2pl.hub.hub import get_model as get_model
