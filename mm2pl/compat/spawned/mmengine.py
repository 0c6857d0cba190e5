"""What a spawned process finds as MMEngine, whose parent serves it by an alias: it begins one of its own.

Such a process inherits ``sys.path``, which the alias extends by this folder, and nothing else of it. A worker of
a pool that cannot import what it is sent dies, and the pool waits for ever: MMRotate's mAP is computed so.
"""

import importlib
import sys

from mm2pl.compat import alias_mmengine

del sys.modules["mmengine"]
alias_mmengine(force=True)
importlib.import_module("mmengine")  # Python returns what stands in sys.modules afterwards
