"""Run several ``mm2pl`` commands, one after the other, in this process; count the calls of each operator."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from mm2pl.cli import main
from mm2pl.ops import adapted, ext

CALLS: Counter[str] = Counter()


def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that counts its calls."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        CALLS[name] += 1
        return function(*args, **kwargs)

    return run


def adapting(name: str, adapt: Callable[..., Any]) -> Callable[..., Any]:
    """Return what replaces a function of ``mmcv.ops`` by one that counts its calls."""
    return lambda theirs: counting(name, adapt(theirs))


def count_operators() -> None:
    """Count the calls of all operators from now on."""
    ext.FUNCTIONS.update({name: counting(name, each) for name, each in ext.FUNCTIONS.items()})
    for functions in adapted.FUNCTIONS.values():
        functions.update({name: adapting(name, each) for name, each in functions.items()})


if __name__ == "__main__":
    count_operators()
    for command in json.loads(sys.argv[1]):
        assert main(["--verbose", *command]) == 0, command
        assert "mmengine" not in sys.modules or sys.modules["mmengine"].__file__.count("mm2pl") == 0
    Path(sys.argv[2]).write_text(json.dumps(CALLS))
