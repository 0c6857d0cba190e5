"""A user's project under ``mypy --strict``, with mm2pl installed by ``pip install -e``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).with_name("project.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the Python of an environment that has this mm2pl, and everything else from the one that tests."""
    # Not imported: setuptools and pip would each put another distutils into this process.
    if missing := [name for name in ("mypy", "pip", "setuptools") if find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("installed")
    source, environment = folder / "source", folder / "environment"
    shutil.copytree(ROOT / "mm2pl", source / "mm2pl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    venv.create(environment)
    python = environment / "bin" / "python"
    [packages] = (environment / "lib").glob("python*/site-packages")
    # A path file named here is not followed there, so an editable mm2pl of this environment stays out.
    packages.joinpath("others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", source], check=True)
    return python


@pytest.fixture(scope="module")
def said(installed, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT, folder)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable"]
    ran = subprocess.run(
        [*mypy, installed, PROJECT.name], cwd=folder, capture_output=True, text=True
    )
    return ran.stdout.splitlines()


def test_there_are_no_errors(said):
    assert [line for line in said if ": error: " in line] == []
    assert said[-1] == "Success: no issues found in 1 source file"


def test_the_types_are_those_in_the_comments_of_the_project(said):
    lines = enumerate(PROJECT.read_text().splitlines(), 1)
    expected = {
        number: found[1]
        for number, line in lines
        if (found := re.search(r"reveal_type\(.*\)  # (.+)$", line))
    }
    found = [re.match(r'project.py:(\d+): note: Revealed type is "(.+)"', line) for line in said]
    assert {int(each[1]): each[2] for each in found if each} == expected
    assert len(expected) > 20
