from __future__ import annotations

import logging
import re
import shutil
import sys

import pytest

from mm2pl.logging import MMLogger, print_log
from mm2pl.logging import logger as module

CONSOLE = r"\d\d/\d\d \d\d:\d\d:\d\d - mmengine - {} - {}"
FILE = r"\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d - mmengine - {} - {}"


def test_lines_on_the_console(capsys) -> None:
    logger = MMLogger.get_instance("run", log_level="DEBUG")
    for level in ("debug", "info", "warning"):
        getattr(logger, level)("welcome %s", level)
        line = capsys.readouterr().out
        assert re.fullmatch(CONSOLE.format(level.upper(), f"welcome {level}\n"), line)


@pytest.mark.parametrize("level", ["ERROR", "CRITICAL"])
def test_errors_say_where(capsys, level: str) -> None:
    logger = MMLogger.get_instance("run")
    logger.log(getattr(logging, level), "oh no")
    where = r".*test_logger.py - test_errors_say_where - \d+ - "
    assert re.fullmatch(CONSOLE.format("ERROR", f"{where}oh no\n"), capsys.readouterr().out)


def test_the_file_has_the_year_and_no_colours(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    path = tmp_path / "run.log"
    logger = MMLogger.get_instance("run", log_file=str(path))
    logger.info("hello")
    logger.debug("not shown")
    assert re.fullmatch(FILE.format("INFO", "hello\n"), path.read_text())
    assert logger.log_file == str(path)


@pytest.mark.parametrize(
    ("tty", "no_color", "colored"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_colours_only_on_a_terminal(monkeypatch, capsys, tty, no_color, colored) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    MMLogger.get_instance("run").info("hello")
    assert ("\033[4m\033[37mINFO\033[0m" in capsys.readouterr().out) is colored


def test_blinking_needs_colour() -> None:
    assert "\033[5m" in module.MMFormatter(blink=True).info_format
    with pytest.raises(AssertionError, match="blink should only be available when color is True"):
        module.MMFormatter(color=False, blink=True)


def test_a_warning_is_shown_once(capsys) -> None:
    logger = MMLogger.get_instance("run")
    for _ in range(3):
        logger.warning("careful")
        logger.info("again")
    out = capsys.readouterr().out
    assert (out.count("careful"), out.count("again")) == (1, 3)


def test_instances() -> None:
    logger = MMLogger.get_instance("run", logger_name="name")
    assert MMLogger.get_instance("run") is logger
    assert (logger.name, logger.instance_name) == ("name", "run")
    assert MMLogger.get_current_instance() is logger
    assert logging.getLogger("name") is not logger


def test_there_is_always_a_current_logger() -> None:
    assert MMLogger.get_current_instance().instance_name == "mmengine"


def test_set_level(capsys) -> None:
    logger = MMLogger.get_instance("run")
    logger.info("one")
    logger.setLevel("ERROR")
    logger.info("two")
    assert "one" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Unknown level: 'LOUD'"):
        logger.setLevel("LOUD")


def test_a_line_that_nobody_takes_is_not_even_made(monkeypatch) -> None:
    logger = MMLogger.get_instance("run")
    monkeypatch.setattr(logger, "makeRecord", None)
    logger.debug("nothing")
    assert not logger.isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(
    ("rank", "world_size", "level", "distributed", "console", "files"),
    [
        (0, 2, "INFO", False, logging.INFO, ["run.log"]),
        (1, 2, "INFO", False, logging.ERROR, []),
        (1, 2, "INFO", True, logging.ERROR, ["run_me@here_device3_rank1.log"]),
        (1, 2, "DEBUG", False, logging.ERROR, ["run_me@here_device3_rank1.log"]),
        (0, 2, "DEBUG", False, logging.DEBUG, ["run_me@here_device3_rank0.log"]),
        (0, 1, "DEBUG", True, logging.DEBUG, ["run.log"]),
    ],
)
def test_ranks(tmp_path, monkeypatch, rank, world_size, level, distributed, console, files) -> None:
    monkeypatch.setattr(module, "_get_rank", lambda: rank)
    monkeypatch.setattr(module, "_get_world_size", lambda: world_size)
    monkeypatch.setattr(module, "_get_host_info", lambda: "me@here")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    logger = MMLogger.get_instance(
        "run", log_file=str(tmp_path / "run.log"), log_level=level, distributed=distributed
    )
    assert logger.handlers[0].level == console
    assert [p.name for p in tmp_path.iterdir()] == files


@pytest.mark.parametrize(
    ("env", "expected"),
    [({}, 0), ({"RANK": "3"}, 3), ({"LOCAL_RANK": "1"}, 1), ({"SLURM_PROCID": "2"}, 2)],
)
def test_the_rank_before_there_is_a_process_group(monkeypatch, env, expected) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert (module._get_rank(), module._get_world_size()) == (expected, 1)


def test_other_file_handlers(tmp_path) -> None:
    cfg = {"type": "RotatingFileHandler", "maxBytes": 100}
    logger = MMLogger.get_instance("a", log_file=str(tmp_path / "a.log"), file_handler_cfg=cfg)
    assert isinstance(logger.handlers[1], logging.handlers.RotatingFileHandler)
    assert cfg["type"] == "RotatingFileHandler"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"file_handler_cfg": {}}, AssertionError, "must have a `type`"),
        ({"file_handler_cfg": {"type": "X"}}, ValueError, "does not contain X: choose from Base"),
        ({"log_level": "LOUD"}, AssertionError, "log_level must be one of CRITICAL"),
    ],
)
def test_wrong_loggers(tmp_path, arguments, kind, message) -> None:
    with pytest.raises(kind, match=message):
        MMLogger.get_instance("bad", log_file=str(tmp_path / "a.log"), **arguments)


@pytest.mark.parametrize("which", ["run", "current", "object"])
def test_print_log_to_a_logger(capsys, which: str) -> None:
    logger = MMLogger.get_instance("run")
    print_log("hello", logger if which == "object" else which, logging.WARNING)
    assert re.fullmatch(CONSOLE.format("WARNING", "hello\n"), capsys.readouterr().out)


def test_print_log_without_a_logger(capsys) -> None:
    print_log("hello")
    print_log("silence", "silent")
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(
    ("logger", "kind", "message"),
    [
        ("nobody", ValueError, "MMLogger: nobody has not been created! Call"),
        (1, TypeError, "`logger` should be either a logging.Logger object, str"),
    ],
)
def test_print_log_to_nobody(logger: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        print_log("hello", logger)  # type: ignore[arg-type]


def test_a_line_after_the_folder_is_gone(tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    logger = MMLogger.get_instance("run", log_file=str(folder / "a.log"))
    logger.rest()
    shutil.rmtree(folder)
    for _ in range(2):
        logger.error("afterwards")
    said = capsys.readouterr()
    assert said.out.count("afterwards") == 2
    assert said.err.count("a.log could not be written: No such file or directory") == 1
