"""Without the extra `migrate`, rewriting code is one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT = (
    "import sys; sys.modules['libcst'] = None; from mm2pl.cli.main import main;"
    "sys.exit(main(['migrate', '--code', 'old.py', '--diff']))"
)


def test_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("import mmcv\n")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True
    )
    assert "pip install 'mm2pl[migrate]'" in done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
