"""``mm2pl run``: scripts that import mmengine, in processes of their own, where MMEngine may be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = str(ROOT / "mm2pl" / "__init__.py")

TOLD = """
import sys
import mmengine, mmengine.utils, mm2pl.utils
print(mmengine.__version__, mmengine.__file__, mmengine.utils is mm2pl.utils)
print(sys.argv, sys.path[0], __name__, sys.modules["__main__"].__dict__ is globals())
"""
SPAWN = """
import multiprocessing, sys

def worker(queue):
    import mmengine
    queue.put((mmengine.__file__, __name__, sys.path[0]))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=worker, args=(queue,))
    process.start()
    print(*queue.get(timeout=60))
    process.join()
"""
LAUNCH = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import sys, mmengine; print(mmengine.__file__, *sys.path)"], cwd="/")
"""

OPERATORS = """
import subprocess, sys
from mmcv import _ext
ask = "from mmcv import _ext; print(_ext.nms.__module__)"
print(_ext.nms.__module__, flush=True)
subprocess.run([sys.executable, "-c", ask], check=True)
"""


def run(folder: Path, text: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run a script in a folder; return what it prints, and its errors."""
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "tools" / "train.py").write_text(text)
    (folder / "tools" / "__init__.py").touch()
    given = arguments or ("tools/train.py",)
    # `-c`, so that the package is found by no path that the script's children would share.
    start = f"import sys; sys.path.insert(1, {str(ROOT)!r}); from mm2pl.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "run", *given]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100, check=False, env=clean()
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_a_script_is_run_as_python_does(tmp_path: Path) -> None:
    out, _ = run(tmp_path, TOLD, "tools/train.py", "config.py", "--verbose", "-m")
    argv = ["tools/train.py", "config.py", "--verbose", "-m"]
    assert out.splitlines() == [
        f"0.10.7 {OURS} True",
        f"{argv} {tmp_path.resolve() / 'tools'} __main__ True",
    ]


def test_a_module_is_run_as_python_does(tmp_path: Path) -> None:
    out, _ = run(tmp_path, TOLD, "-m", "tools.train", "x")
    argv = [str(tmp_path.resolve() / "tools" / "train.py"), "x"]
    assert out.splitlines()[1] == f"{argv} {tmp_path.resolve()} __main__ True"


def test_spawned_workers_are_served(tmp_path: Path) -> None:
    out, _ = run(tmp_path, SPAWN)
    assert out.split() == [OURS, "__mp_main__", str(tmp_path.resolve() / "tools")]


def test_launched_processes_are_served(tmp_path: Path) -> None:
    out, _ = run(tmp_path, LAUNCH)
    found, *path = out.split()
    assert found == OURS
    assert not any("startup" in entry for entry in path)


def test_mmcvs_operators_are_served_where_they_are_not_compiled(tmp_path: Path) -> None:
    (tmp_path / "tools" / "mmcv").mkdir(parents=True)
    (tmp_path / "tools" / "mmcv" / "__init__.py").touch()
    text = f"import os; os.environ['PYTHONPATH'] += os.pathsep + {str(tmp_path / 'tools')!r}\n{OPERATORS}"
    out, _ = run(tmp_path, text)
    assert [line.startswith("mm2pl.ops") for line in out.splitlines()] == [True, True]


def test_another_sitecustomize_still_works(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('theirs')\n")
    text = f"import os; os.environ['PYTHONPATH'] += os.pathsep + {str(tmp_path / 'site')!r}\n"
    out, _ = run(tmp_path, text + LAUNCH)
    assert out.split()[:2] == ["theirs", OURS]


ENDS = {
    "its own code": ("import sys; sys.exit(3)", 3, ""),
    "a mistake": (
        "from mmengine.config import Config\nConfig.fromfile('nowhere.py')",
        2,
        "mm2pl run: ConfigFileNotFoundError: ",
    ),
    "an error of its own": (
        "def broken():\n    return {}['x']\nbroken()",
        1,
        "mm2pl run: failed in tools/train.py:2, in broken: return {}['x']\nTraceback",
    ),
    "no MMCV": (
        "raise ModuleNotFoundError('', name='mmcv')",
        1,
        "mm2pl run: failed in tools/train.py:1",
    ),
    "what mm2pl lacks": (
        "import mmengine.nothing",
        2,
        "mm2pl run: MissingModuleError: mmengine is served by mm2pl here, which has no 'nothing' → `python SCRIPT`",
    ),
}


@pytest.mark.parametrize(("text", "code", "said"), ENDS.values(), ids=ENDS)
def test_how_a_script_ends(text: str, code: int, said: str, tmp_path: Path) -> None:
    _, error = run(tmp_path, text, code=code)
    assert error.startswith(said)
    assert ("mm2pl migrate --code FOLDER" in error) is ("name='mmcv'" in text)


def test_a_launched_process_tells_a_mistake_in_one_message(tmp_path: Path) -> None:
    child = "from mmengine.config import Config; Config.fromfile('nowhere.py')"
    text = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {child!r}]))"
    _, error = run(tmp_path, text, code=1)
    assert error.startswith("mm2pl run: ConfigFileNotFoundError: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tools/trian.py",), "'tools/trian.py' does not exist. Did you mean 'tools/train.py'?"),
        (("-m", "nowhere.at_all"), "there is no module 'nowhere.at_all' that runs →"),
        (("-m", "json"), "there is no module 'json' that runs →"),
        (("-m",), "mm2pl run needs a script → mm2pl run SCRIPT"),
        (("python", "tools/train.py"), "takes the place of python → mm2pl run SCRIPT"),
    ],
    ids=["misspelt", "no module", "a package", "none", "python"],
)
def test_no_script(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in run(tmp_path, "", *arguments, code=2)[1]
