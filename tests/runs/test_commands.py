"""``mm2pl runs``, ``plot log``, ``compare``, ``publish`` and ``clean``, as their users call them."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from mm2pl.cli.main import main


def said(capsys, *words):
    code = main([*map(str, words)])
    return code, capsys.readouterr()


def listed(capsys, *words):
    code, out = said(capsys, "runs", *words, "--json")
    return code, [each["name"].rpartition("/")[2] for each in json.loads(out.out)]


def test_sixty_runs_in_two_seconds_and_without_torch(made):
    made.sixty()
    program = (
        "import sys\nfrom mm2pl.cli.main import main\n"
        "code = main(['runs', sys.argv[1]])\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    begun = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", program, made.root], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begun
    assert (found.returncode, found.stderr) == (0, "")
    lines = [line for line in found.stdout.splitlines() if not line.startswith("    ")]
    assert len(lines) == 61
    # It takes 0.5 on a machine that does nothing else.
    assert seconds < 8


def test_the_newest_run_comes_first(made, capsys):
    made.mmengine("a")
    made.own("b", "finished")
    made.mmcv("c")
    assert listed(capsys, made.root) == (0, ["b", "a", "c"])


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("name", ["a", "b", "c", "d"]),
        # d's metric has another name.
        ("best", ["b", "a", "c", "d"]),
        ("loss", ["d", "a", "b", "c"]),
        ("size", ["a", "b", "c", "d"]),
        ("left", ["c", "a", "b", "d"]),
    ],
)
def test_sort(made, capsys, key, order):
    made.mmengine("a", lr=0.1)
    made.mmengine("b", lr=0.3)
    made.own("c", "running")
    made.mmcv("d")
    (made.root / "d" / "epoch_1.pth").unlink(missing_ok=True)
    code, found = listed(capsys, made.root, "--sort", key)
    assert (code, [n for n in found if n in order]) == (0, order)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["optim_wrapper.optimizer.lr=0.1"], ["a"]),
        (["optim_wrapper.optimizer.lr=1e-1"], ["a"]),
        (["optim_wrapper.optimizer.type=SGD"], ["a", "b"]),
        (["optim_wrapper.optimizer.type=SGD", "optim_wrapper.optimizer.lr=0.3"], ["b"]),
        (["evaluation"], ["c"]),
    ],
)
def test_filter(made, capsys, filters, names):
    made.mmengine("a", lr=0.1)
    made.mmengine("b", lr=0.3)
    made.mmcv("c")
    words = [word for each in filters for word in ("--filter", each)]
    assert listed(capsys, made.root, "--sort", "name", *words) == (0, names)


def test_no_run_is_left(made, capsys):
    made.mmengine("a")
    code, out = said(capsys, "runs", made.root, "--filter", "optim_wrapper.optimizer.lr=7")
    assert (code, out.out) == (1, "none of 1 runs has optim_wrapper.optimizer.lr=7\n")


REFUSED = {
    "a key that nobody has": (
        ["{root}", "--filter", "optim_wrapper.optimizer.lrr=1"],
        "Did you mean",
    ),
    "no folder": (["{root}/none"], "there is no such folder"),
    "no run": (["{root}/a/20260101_100000/vis_data"], "no work folder of a run is there"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(made, capsys, words, message):
    made.mmengine("a")
    code, out = said(capsys, "runs", *(word.format(root=made.root) for word in words))
    assert (code, out.out) == (2, "")
    assert message in out.err


def test_a_failed_run_says_why_below_it(made, capsys):
    made.own("a", "failed", error="ValueError: no\nmore")
    _, out = said(capsys, "runs", made.root)
    assert out.out.splitlines()[2] == "    ValueError: no"
