"""Links lead somewhere, extras exist, and what is not run says why."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import tomllib

from tests.documents.commands import reference
from tests.documents.output import difference
from tests.documents.pages import ROOT, anchors, blocks, links, pages

EACH = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))

#: Languages of blocks that hold no command and no program.
SHOWN = {"text", "console", "yaml", "json", "toml", "html", "diff"}


@EACH
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in links(text):
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@EACH
def test_extras_exist(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"(?:\.|mm2pl)\[([a-z0-9,]+)\]", page.read_text(encoding="utf-8"))
    extras = {extra for each in named for extra in each.split(",")}
    assert extras <= set(project["optional-dependencies"])


@EACH
def test_blocks_are_run_or_shown(page: Path) -> None:
    found = list(blocks(page.read_text(encoding="utf-8")))
    assert {block.language for block in found} <= {"bash", "python", *SHOWN}


@EACH
def test_files_that_are_named_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|tsv|json))`", text):
        if name.split("/")[0] in ("work_dirs", "tools", "vis_data"):
            continue  # a reader's own
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


def test_the_reference_of_the_command_line_is_current() -> None:
    # `python -m tests.documents.commands` writes it.
    assert reference() in (ROOT / "configs/README.md").read_text(encoding="utf-8")


def test_the_chinese_page_is_made_from_the_english_one() -> None:
    # After a change of README.md: carry it over, then write the new hash into the first line.
    english = hashlib.sha256((ROOT / "README.md").read_bytes()).hexdigest()
    first = (ROOT / "README_zh-CN.md").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"<!-- made from README.md, sha256 {english} -->"


def test_what_is_not_run_is_counted() -> None:
    reasons = [b.not_run for page in pages() for b in blocks(page.read_text()) if b.not_run]
    assert len(reasons) == NOT_RUN, reasons


#: Blocks that need what CI has not: GPUs, other machines, a service, a toolbox's data.
NOT_RUN = 12


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        ("a 1.5\nb", "a 2.25\nb\n", None),
        ("a 1", "a 2", "a 1"),
        ("a", "a\nb", "b"),
        ("a\n…", "a\nb", None),
        ("…\nc", "a\nb\nc", None),
        ("…\nb", "a\nb\nc", "c"),
        ("a … c", "a b c", None),
        ("saved to /home/x/y.pth, 0:00:12", "saved to /tmp/y.pth, 0:01:00", None),
        ("saved to y.pth", "saved to z.pth", "saved to y.pth"),
        ("a (3.2 s)", "a (11 s)", None),
        ("Epoch 1", "11/27 05:24:13 - mmengine - INFO - Epoch 1", None),
    ],
)
def test_shown_against_printed(shown: str, printed: str, missing: str | None) -> None:
    assert difference(shown, printed) == missing
