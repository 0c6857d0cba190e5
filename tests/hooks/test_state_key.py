from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from mm2pl.hooks import EarlyStoppingHook, Hook
from mm2pl.hooks.state_key import described_arguments


class Given(Hook):
    def __init__(self, what, *more, **named):
        self.what = what


class Bare(Hook):
    pass


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((1,), {}, "(what=1)"),
        ((), {"what": "a"}, "(what='a')"),
        (
            (None, 2.5),
            {"z": True, "y": b"b"},
            "(what=None, more=[2.5], named={'y': b'b', 'z': True})",
        ),
        (([1, (2,)],), {}, "(what=[1, [2]])"),
        (({"b": 1, "a": [{}]},), {}, "(what={'a': [{}], 'b': 1})"),
        ((int,), {}, "(what=int)"),
        ((object(),), {}, "(what=object)"),
        ((), {"wrong": 1}, "(args=[], wrong=1)"),
    ],
)
def test_arguments(args, kwargs, expected):
    assert described_arguments(Given, args, kwargs) == expected


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))]
)
def test_a_copy_has_the_same_key(twin):
    hook = EarlyStoppingHook("acc", patience=3)
    assert hook.state_key == "EarlyStoppingHook(monitor='acc', patience=3)"
    assert twin(hook).state_key == hook.state_key


def test_another_process_gives_the_same_key():
    text = "EarlyStoppingHook(patience=3, monitor='acc')"
    code = f"from mm2pl.hooks import EarlyStoppingHook; print({text}.state_key)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == EarlyStoppingHook("acc", patience=3).state_key


def test_a_hook_without_arguments_takes_none():
    assert Bare().state_key == "Bare()"
    with pytest.raises(TypeError, match=r"Bare\(\) takes no arguments, but got \{'monitr': 1\}"):
        Bare(monitr=1)
