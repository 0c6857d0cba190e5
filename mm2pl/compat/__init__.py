"""Packages written for MMEngine, run without it."""

from .alias import MMEngineAlias as MMEngineAlias
from .alias import alias_mmengine as alias_mmengine
from .importing import import_module as import_module
from .mmcv_ext import serve_mmcv_ext as serve_mmcv_ext
from .names import ours as ours
from .names import reexported as reexported
from .native import config_for as config_for
from .snapshot import keep as keep
