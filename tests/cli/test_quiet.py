"""The start of a run: a line before the slow imports, and no advice that nobody here can act on."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mm2pl.adverts import without_adverts
from mm2pl.cli.main import main
from mm2pl.version import __version__

ROOT = Path(__file__).parents[2]
SHORT = ["--trainer.limit_train_batches", "2", "--trainer.max_epochs", "1"]


@pytest.mark.slow
def test_the_start_of_a_run_is_quiet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mm2pl", "fit", "configs/digits_resnet.py"]
    done = subprocess.run(
        [*command, "--work-dir", str(tmp_path), *SHORT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    first, *others = done.stderr.splitlines()
    assert first == f"mm2pl {__version__}, loading Lightning …"
    assert [line for line in others if not line.startswith(("GPU ", "TPU "))] == [
        "`Trainer.fit` stopped: `max_epochs=1` reached."
    ]


def test_the_first_line_comes_before_lightning() -> None:
    code = (
        "import sys; from mm2pl.cli.run import first_line; first_line();"
        "print({'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert "loading Lightning" in done.stderr


def test_other_words_of_other_libraries_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with without_adverts(), caplog.at_level(logging.INFO, logger=logger.name):
        logger.info("💡 Tip: For seamless cloud logging and experiment tracking, try …")
        logger.info("💡 Tip: raise num_workers")
        with pytest.warns(FutureWarning, match="yours is deprecated"):
            warnings.warn("yours is deprecated", FutureWarning, stacklevel=1)
        with warnings.catch_warnings(record=True) as seen:
            text = "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec) and …"
            warnings.warn(text, FutureWarning, stacklevel=1)
    assert (caplog.messages, seen) == (["💡 Tip: raise num_workers"], [])
    assert logger.filters == []


def test_an_error_of_the_users_own_code_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.py"
    (tmp_path / "mm2pl_test_fails.py").write_text("def f():\n    return {}['k']\nf()\n")
    config.write_text("custom_imports = dict(imports=['mm2pl_test_fails'])\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(KeyError, match="k"):
            main(["fit", str(config)])
    finally:
        sys.path.remove(str(tmp_path))
    place = f"{tmp_path / 'mm2pl_test_fails.py'}:2, in f: return {{}}['k']"
    assert capsys.readouterr().err == f"mm2pl fit: failed in {place}\n"
