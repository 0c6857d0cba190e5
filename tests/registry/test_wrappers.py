from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from torch import nn
from mm2pl.registry.wrappers import is_model_wrapper
assert "mm2pl.model" not in sys.modules
print(is_model_wrapper(nn.DataParallel(nn.Linear(1, 1))), is_model_wrapper(nn.Linear(1, 1)))
"""


def test_torchs_wrappers_are_known_before_the_room_of_models_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
