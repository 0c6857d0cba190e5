"""The snippets of the page on trust, run in their order as one program."""

from __future__ import annotations

import re
from pathlib import Path

import examples

PAGE = Path(examples.__file__).parent / "trusting_files.md"


def test_the_snippets_refuse_what_the_page_says(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 4
    scope = {"__name__": "page"}
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), scope)
    lines = capfd.readouterr().out.splitlines()
    assert "I ran" not in lines
    assert lines.count("refused: True") == 3
    assert "wrong.pth: meta.epoch is 'three' (str) → a whole number from 0 on is needed" in lines
