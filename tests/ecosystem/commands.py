"""Run several ``mm2pl`` commands, one after the other, in this process."""

from __future__ import annotations

import json
import sys

from mm2pl.cli import main

for command in json.loads(sys.argv[1]):
    assert main(["--verbose", *command]) == 0, command
    assert "mmengine" not in sys.modules or sys.modules["mmengine"].__file__.count("mm2pl") == 0
