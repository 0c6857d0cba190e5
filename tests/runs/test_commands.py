"""``mm2pl runs``, ``plot log``, ``compare``, ``publish`` and ``clean``, as their users call them."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time

import pytest
import torch

from mm2pl.cli import plot_log
from mm2pl.cli.main import main


def said(capsys, *words):
    code = main([*map(str, words)])
    return code, capsys.readouterr()


def listed(capsys, *words):
    code, out = said(capsys, "runs", *words, "--json")
    return code, [each["name"].rpartition("/")[2] for each in json.loads(out.out)]


def test_sixty_runs_need_no_torch_and_few_files(made):
    made.sixty()
    program = (
        "import sys\nfrom mm2pl.cli.main import main\nopened = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and opened.append(str(args[0])))\n"
        "code = main(['runs', sys.argv[1]])\nassert 'torch' not in sys.modules\n"
        "print(sum(path.startswith(sys.argv[1]) for path in opened), file=sys.stderr)\nsys.exit(code)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, made.root], capture_output=True, text=True, check=True
    )
    lines = [line for line in found.stdout.splitlines() if not line.startswith("    ")]
    assert len(lines) == 61
    # The state, the config and the log, which lies in three parts where a run was resumed twice. On an idle machine
    # that takes 0.3 s, and under load 1.9 s.
    assert int(found.stderr) <= 60 * 5


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


def test_a_terminal_gets_colours_where_rich_is(made, capsys, monkeypatch):
    pytest.importorskip("rich")
    made.own("a[0]", "failed", error="ValueError: [bold]no")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out = said(capsys, "runs", made.root)
    found = re.sub(r"\x1b\[[\d;]*m", "", out.out)
    assert "a[0]" in found
    assert "ValueError: [bold]no" in found


def test_without_matplotlib_there_is_text(made, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(plot_log, "find_spec", lambda name: None)
    code, out = said(capsys, "plot", "log", made.mmengine(), "-o", tmp_path / "x.png")
    assert (code, out.out.splitlines()[0]) == (2, "loss")
    assert out.err.endswith("x.png is not drawn: matplotlib is missing → pip install mm2pl[plot]\n")


def test_plot_log(made, capsys, tmp_path):
    folders = made.mmengine("a"), made.mmcv("b")
    picture = tmp_path / "x.png"
    code, out = said(capsys, "plot", "log", *folders, "--smooth", "0.5", "-o", picture)
    assert code == 0
    assert picture.stat().st_size > 5000
    assert out.out.splitlines()[0] == "loss"
    assert out.out.splitlines()[-1] == f"wrote {picture}"


def test_plot_log_of_the_file_that_analysis_tools_read(made, capsys):
    folder = made.mmengine("a", parts=((1, 2), (3, 4)))
    scalars = sorted(folder.glob("*/vis_data/scalars.json"))
    code, out = said(capsys, "plot", "log", *scalars, "--keys", "acc", "--json")
    assert (code, len(scalars)) == (0, 2)
    assert [row["run"] for row in json.loads(out.out)] == ["a"]


def test_plot_of_a_folder_names_the_word_that_is_missing(made, capsys):
    code, out = said(capsys, "plot", made.mmengine("a"), "--keys", "acc")
    assert (code, out.out) == (2, "")
    assert f"→ mm2pl plot log {made.root / 'a'} --keys acc\n" in out.err


def test_plot_log_of_another_file(capsys, tmp_path):
    other = tmp_path / "config.py"
    other.touch()
    code, out = said(capsys, "plot", "log", other)
    assert (code, out.out) == (2, "")
    assert out.err.endswith("neither logs nor checkpoints → give the work_dir of a run\n")


def test_nothing_is_printed_where_the_picture_cannot_be_drawn(made, capsys):
    pytest.importorskip("matplotlib")
    code, out = said(capsys, "plot", "log", made.mmengine("a"), "-o", made.root / "no" / "x.png")
    assert (code, out.out) == (2, "")
    assert out.err.endswith("of 'x.png' does not exist.\n")


@pytest.mark.parametrize("words", [["compare"], ["plot", "log"]], ids=" ".join)
def test_a_command_without_runs_says_how_it_is_used(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "the following arguments are required" in capsys.readouterr().err


def test_plot_log_as_json(made, capsys):
    _, out = said(capsys, "plot", "log", made.mmengine(lr=0.0), "--keys", "acc", "--json")
    expected = {"run": "theirs", "key": "acc", "kind": "val"}
    assert json.loads(out.out) == [{**expected, "x": [1, 2, 3, 4], "y": [74, 76, 76, 74]}]


def test_watching_ends_with_the_run(made, capsys, monkeypatch):
    folder = made.own("a", "running")

    def end(seconds):
        (folder / ".run.json").rename(folder / "20260101_100000" / "run.json")
        path = folder / "20260101_100000" / "run.json"
        path.write_text(path.read_text().replace('"running"', '"finished"'))

    monkeypatch.setattr(time, "sleep", end)
    code, out = said(capsys, "plot", "log", folder, "--keys", "acc", "--watch", "0.1")
    assert (code, out.out.count("acc\n")) == (0, 2)


def test_a_run_is_watched_from_its_start(made, capsys, monkeypatch):
    folder = made.own("a", "running")
    log = folder / "20260101_100000" / "vis_data" / "scalars.json"
    rows = log.read_text()
    log.write_text("")
    (folder / "20260101_100000" / "20260101_100000.log").unlink()

    def go_on(seconds):
        if log.read_text():
            raise KeyboardInterrupt
        log.write_text(rows)

    monkeypatch.setattr(time, "sleep", go_on)
    code, out = said(capsys, "plot", "log", "--watch", folder)
    assert (code, out.out.splitlines()[:2]) == (0, ["nothing was logged yet", "loss"])


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_any_name_can_be_printed_everywhere(made, monkeypatch, encoding):
    folder = made.mmengine("a")
    folder = folder.rename(folder.with_name(os.fsdecode(b"a\xff")))
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["plot", "log", str(folder)]) == 0
    output.flush()
    assert b"a\\udcff: " in output.buffer.getvalue()


def test_ctrl_c_is_no_traceback(made, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    folder = ended(made)
    monkeypatch.setattr("builtins.input", interrupt)
    code, out = said(capsys, "clean", folder)
    assert (code, out.out.splitlines()[-1]) == (1, "nothing was removed")
    assert len(kept(folder)) == 3
    monkeypatch.setattr(plot_log, "as_text", interrupt)
    code, out = said(capsys, "plot", "log", folder)
    assert (code, out.err) == (1, "mm2pl plot: interrupted\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--smooth", "0.5", "--log"], "leave out --smooth, --log"),
        (["--json", "-o", "x.png", "--watch"], "leave out --out, --watch"),
        (["--dark", "--size", "9x9"], "--dark, --size is of a picture → name its file with --out"),
        (["--smooth", "1"], "a number from 0 to below 1"),
        (["--size", "big", "-o", "x.png"], "width and height in inches"),
        (["--watch", "0"], "a number of seconds above 0"),
        (["--keys", "los"], "Did you mean 'loss'"),
    ],
)
def test_plot_log_refuses(made, capsys, words, message):
    code, out = said(capsys, "plot", "log", made.mmengine(), *words)
    assert (code, out.out) == (2, "")
    assert message in out.err


def test_compare(made, capsys):
    a, b = made.mmengine("a"), made.mmengine("b", lr=0.3)
    code, out = said(capsys, "compare", a, b, "--json")
    found = json.loads(out.out)
    assert (code, found["runs"]) == (0, ["a", "b"])
    assert found["config"] == {"optim_wrapper.optimizer.lr": {"a": "0.1", "b": "0.3"}}


def test_last_is_what_last_checkpoint_names(made, capsys):
    folders = made.mmengine("a"), made.mmengine("b")
    for folder in folders:
        torch.save({"meta": {}, "state_dict": {"w": torch.ones(1)}}, folder / "epoch_4.pth")
        (folder / "epoch_2.pth").write_bytes(b"copied later")
    code, out = said(capsys, "compare", "--weights", *folders, "--json")
    assert (code, json.loads(out.out)["weights"]["file"]["a"]) == (0, "epoch_4.pth")


def test_compare_writes_a_page(made, capsys, tmp_path):
    out = tmp_path / "c.html"
    code, told = said(capsys, "compare", made.mmengine("a"), made.mmengine("b"), "--html", out)
    assert (code, told.out) == (0, f"wrote {out}\n")
    assert out.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "is one run → name two or more"),
        (
            ["{root}"],
            "is not the work folder of a run: it has neither logs nor checkpoints → `mm2pl runs",
        ),
        (["{root}/a", "--weights", "best"], "has no such checkpoint, but epoch_4.pth"),
        (["{root}/a", "--html", "{root}/no/c.html"], "does not exist"),
    ],
)
def test_compare_refuses(made, capsys, words, message):
    words = [word.format(root=made.root) for word in words]
    code, out = said(capsys, "compare", made.mmengine("a"), *words)
    assert (code, out.out) == (2, "")
    assert message in out.err


def ended(made):
    folder = made.own("a", "finished")
    for name in ("epoch_1.pth", "epoch_2.pth"):
        (folder / name).write_bytes(b"x")
    return folder


def kept(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


@pytest.mark.parametrize(
    ("answer", "words", "code", "left"),
    [
        ("y", [], 0, ["epoch_2.pth", "epoch_4.pth"]),
        ("y", ["--keep", "last"], 0, ["epoch_4.pth"]),
        ("", [], 1, ["epoch_1.pth", "epoch_2.pth", "epoch_4.pth"]),
        (None, [], 1, ["epoch_1.pth", "epoch_2.pth", "epoch_4.pth"]),
        (None, ["--dry-run"], 0, ["epoch_1.pth", "epoch_2.pth", "epoch_4.pth"]),
        (None, ["--json"], 0, ["epoch_1.pth", "epoch_2.pth", "epoch_4.pth"]),
        (None, ["--yes", "--dry-run"], 0, ["epoch_1.pth", "epoch_2.pth", "epoch_4.pth"]),
        (None, ["--yes", "--keep", "2"], 0, ["epoch_2.pth", "epoch_4.pth"]),
    ],
)
def test_clean(made, capsys, monkeypatch, answer, words, code, left):
    def ask(question):
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", ask)
    folder = ended(made)
    assert said(capsys, "clean", folder, *words)[0] == code
    assert kept(folder) == left


def test_clean_looks_again_after_the_question(made, capsys, monkeypatch):
    folder = ended(made)

    def begin(question):
        (folder / ".run.json").write_text(json.dumps({**made.me(), "state": "running"}))
        return "y"

    monkeypatch.setattr("builtins.input", begin)
    code, out = said(capsys, "clean", folder)
    assert (code, len(kept(folder))) == (2, 3)
    assert "a run trains there" in out.err
