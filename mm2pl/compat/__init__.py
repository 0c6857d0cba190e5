"""Packages written for MMEngine, run without it."""

from .alias import MMEngineAlias as MMEngineAlias
from .alias import alias_mmengine as alias_mmengine
from .importing import import_module as import_module
from .native import config_for as config_for
from .snapshot import keep as keep
