"""Log lines for the console and the log file, in MMEngine's format."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import warnings
from collections.abc import Callable
from getpass import getuser
from logging import Logger, LogRecord
from pathlib import Path
from socket import gethostname
from typing import Any, TextIO

from mm2pl.errors import ArgumentError, unwritten
from mm2pl.manager import ManagerMixin

_COLORS = {"ERROR": "31", "WARNING": "33", "INFO": "37", "DEBUG": "32"}
_UNDERLINE, _BLINK = "4", "5"


class FilterDuplicateWarning(logging.Filter):
    """Let each warning through once."""

    def __init__(self, name: str = "mmengine") -> None:
        super().__init__(name)
        self.seen: set[Any] = set()

    def filter(self, record: LogRecord) -> bool:
        """Return whether the record is a new warning, or something other than a warning."""
        if record.levelno != logging.WARNING:
            return True
        # The text before its arguments: warning("%s", x) shows only its first x, as in MMEngine 0.10.7.
        if record.msg in self.seen:
            return False
        self.seen.add(record.msg)
        return True


class MMFormatter(logging.Formatter):
    """Write ``time - logger - LEVEL - message``; errors also say where.

    Args:
        color: Colour the level, for a terminal.
        blink: Let it blink for INFO and DEBUG too, as it does for the others.
        **kwargs: For `logging.Formatter`, such as ``datefmt``.

    Raises:
        ArgumentError: ``blink`` is wanted without colour.
    """

    def __init__(self, color: bool = True, blink: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if blink and not color:
            raise ArgumentError("blink should only be available when color is True")
        head, tail = "%(asctime)s - %(name)s - {} - ", "%(message)s"
        where = "%(pathname)s - %(funcName)s - %(lineno)d - "
        self.err_format = head.format(_prefix("ERROR", color, True)) + where + tail
        self.warn_format = head.format(_prefix("WARNING", color, True)) + tail
        self.info_format = head.format(_prefix("INFO", color, blink)) + tail
        self.debug_format = head.format(_prefix("DEBUG", color, blink)) + tail

    def format(self, record: LogRecord) -> str:
        """Return the line of ``record``."""
        formats = {
            logging.WARNING: self.warn_format,
            logging.INFO: self.info_format,
            logging.DEBUG: self.debug_format,
        }
        # MMEngine 0.10.7 has no format for CRITICAL and prints it in that of the line before.
        critical = self.err_format if record.levelno >= logging.ERROR else self.info_format
        # logging.Formatter has no public way to change its format.
        self._style._fmt = formats.get(record.levelno, critical)
        return super().format(record)


def _prefix(level: str, color: bool, blink: bool) -> str:
    if not color:
        return level
    codes = [_COLORS[level], _UNDERLINE, *([_BLINK] if blink else [])]
    return "".join(f"\033[{code}m" for code in reversed(codes)) + f"{level}\033[0m"


class ConsoleHandler(logging.StreamHandler):
    """Write to what is `sys.stdout` at the time."""

    def __init__(self) -> None:
        # StreamHandler's own __init__ would bind the standard output of this moment.
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """The present standard output, which tests and notebooks replace."""
        return sys.stdout

    def emit(self, record: LogRecord) -> None:
        """Write a line above the progress bars that are being shown."""
        # Whoever shows a bar of tqdm has imported it. `_instances` is its own list of open bars.
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        if tqdm is None or not getattr(tqdm, "_instances", None):
            super().emit(record)
        else:
            with tqdm.external_write_mode(file=self.stream):
                super().emit(record)


class MMLogger(Logger, ManagerMixin):
    """Log to the console and a file, by rank; stands for `mmengine.logging.MMLogger`.

    It is found by :meth:`get_instance`, never by `logging.getLogger`, and has no parent logger.
    Ranks other than 0 show only errors, and write a file of their own only if ``distributed`` is
    set or the level is DEBUG.

    Args:
        name: The instance's name.
        logger_name: The name in the lines.
        log_file: Also write there; with several ranks writing, their host, device and rank are
            put into its name.
        log_level: A level or its name.
        file_mode: How the file is opened.
        distributed: Every rank writes a file.
        file_handler_cfg: Another handler class of `logging.handlers`, as ``type``, with its
            arguments.
    """

    def __init__(
        self,
        name: str,
        logger_name: str = "mmengine",
        log_file: str | None = None,
        log_level: int | str = "INFO",
        file_mode: str = "w",
        distributed: bool = False,
        file_handler_cfg: dict[str, Any] | None = None,
    ) -> None:
        # Its own level stays NOTSET, so the handlers decide.
        Logger.__init__(self, logger_name)
        ManagerMixin.__init__(self, name)
        level = _level_number(log_level)
        rank, world_size = _get_rank(), _get_world_size()

        console = ConsoleHandler()
        # A program without a console, such as one of pythonw, has no standard output.
        color = sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
        console.setFormatter(MMFormatter(color=color, datefmt="%m/%d %H:%M:%S"))
        console.setLevel(level if rank == 0 else logging.ERROR)
        # A filter for each handler: a common one would let a warning through to the first handler only.
        console.addFilter(FilterDuplicateWarning(logger_name))
        self.handlers.append(console)

        every_rank = (distributed or level <= logging.DEBUG) and world_size > 1
        if log_file is not None and every_rank:
            log_file = _file_of_rank(log_file, rank)
        if log_file is not None and (rank == 0 or every_rank):
            handler = _file_handler(log_file, file_mode, file_handler_cfg)
            handler.handleError = _say_once(log_file, handler)  # type: ignore[method-assign, assignment]
            handler.setFormatter(MMFormatter(color=False, datefmt="%Y/%m/%d %H:%M:%S"))
            handler.setLevel(level)
            handler.addFilter(FilterDuplicateWarning(logger_name))
            self.handlers.append(handler)
        # As in MMEngine 0.10.7, other ranks name the file as well, though only rank 0 writes it.
        self._log_file = log_file

    def follow_rank(self) -> None:
        """Leave the console and the file to rank 0, where this process is a copy of the one that made the logger."""
        if _get_rank() != 0:
            self.handlers[0].setLevel(logging.ERROR)
            # Not closed: its buffer is a copy too, and would be written a second time.
            del self.handlers[1:]
            self._cache.clear()  # type: ignore[attr-defined]

    def rest(self) -> None:
        """Close the file until there is another record, which goes to its end."""
        for handler in self.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.mode = "a"
                handler.close()

    @property
    def log_file(self) -> str | None:
        """The path of the log file, if there is one."""
        return self._log_file

    @classmethod
    def get_current_instance(cls) -> MMLogger:
        """Return the logger created last; one called ``'mmengine'`` if there is none."""
        if not cls._instance_dict:
            cls.get_instance("mmengine")
        return super().get_current_instance()

    def callHandlers(self, record: LogRecord) -> None:
        """Pass ``record`` to this logger's own handlers only."""
        for handler in self.handlers:
            if record.levelno >= handler.level:
                try:
                    handler.handle(record)
                except OSError:
                    # Python's FileHandler asks `handleError` of writing alone, not of opening its file again.
                    handler.handleError(record)

    def isEnabledFor(self, level: int) -> bool:
        """Return whether some handler takes ``level``: a line that none takes costs nothing."""
        return any(level >= h.level for h in self.handlers) and super().isEnabledFor(level)

    def setLevel(self, level: int | str) -> None:
        """Set this logger's level."""
        self.level = logging._checkLevel(level)  # type: ignore[attr-defined]
        # Python empties the caches only of loggers that getLogger has made, and these are none.
        for logger in MMLogger._instance_dict.values():
            logger._cache.clear()


def print_log(msg: Any, logger: Logger | str | None = None, level: int = logging.INFO) -> None:
    """Log ``msg``; stands for `mmengine.logging.print_log`.

    Args:
        msg: The message.
        logger: A logger; ``'current'``: the `MMLogger` created last; ``'silent'``: none; another
            string: the `MMLogger` of that name; None: `print`.
        level: The level, where there is a logger.

    Raises:
        ValueError: There is no logger of that name.
        TypeError: ``logger`` is something else.
    """
    if logger is None:
        print(msg)
    elif isinstance(logger, Logger):
        logger.log(level, msg)
    elif logger == "current":
        MMLogger.get_current_instance().log(level, msg)
    elif logger == "silent":
        return
    elif not isinstance(logger, str):
        raise TypeError(
            "`logger` should be either a logging.Logger object, str, "
            f'"silent", "current" or None, but got {type(logger)}'
        )
    elif not MMLogger.check_instance_created(logger):
        raise ValueError(
            f"MMLogger: {logger} has not been created! Call MMLogger.get_instance({logger!r}) "
            f"before; there are {list(MMLogger._instance_dict) or 'none'}."
        )
    else:
        MMLogger.get_instance(logger).log(level, msg)


def _level_number(level: int | str) -> int:
    if isinstance(level, int):
        return level
    levels = logging._nameToLevel
    if level not in levels:
        raise ArgumentError(f"log_level must be one of {', '.join(levels)}, but got {level!r}.")
    return levels[level]


def _group() -> Any:
    # Not imported for this: a process group needs the module to be imported already.
    distributed = sys.modules.get("torch.distributed")
    there = distributed and distributed.is_available() and distributed.is_initialized()
    return distributed if there else None


def _get_rank() -> int:
    if (group := _group()) is not None:
        return group.get_rank()
    # Before there is a group, Lightning's and torchrun's processes know their rank by these.
    return int(next((os.environ[k] for k in _RANK_VARIABLES if k in os.environ), "0"))


def _get_world_size() -> int:
    return 1 if (group := _group()) is None else group.get_world_size()


# LOCAL_RANK counts on this machine only, so RANK comes first.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def _file_of_rank(log_file: str, rank: int) -> str:
    path = Path(log_file)
    host = f"{host}_" if (host := _get_host_info()) else ""
    return str(
        path.with_name(f"{path.stem}_{host}device{_get_device_id()}_rank{rank}{path.suffix}")
    )


def _get_host_info() -> str:
    try:
        return f"{getuser()}@{gethostname()}"
    except Exception as error:  # getuser() fails in containers without a user database
        warnings.warn(f"Host or user not found: {error}", stacklevel=2)
        return ""


def _get_device_id() -> int | str:
    """Return the CUDA device that this process uses, by its number on the machine."""
    local_rank = int(os.getenv("LOCAL_RANK", "0"))
    visible = os.getenv("CUDA_VISIBLE_DEVICES")
    torch = sys.modules.get("torch")
    if not visible or torch is None or not torch.cuda.is_available():
        return local_rank
    device = visible.split(",")[local_rank]
    # CUDA_VISIBLE_DEVICES may also name a device by its UUID, such as GPU-8f0c or MIG-41a2.
    return int(device) if device.isdigit() else device


def _say_once(log_file: str, handler: logging.Handler) -> Callable[[LogRecord], None]:
    """Return what a handler does when it cannot write a line: logging would print a traceback for each."""
    default, said = handler.handleError, False

    def handle_error(record: LogRecord) -> None:
        nonlocal said
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            default(record)
        elif not said:
            said = True
            print(f"{unwritten(log_file, error)}; its lines are lost until then", file=sys.stderr)

    return handle_error


def _file_handler(log_file: str, mode: str, cfg: dict[str, Any] | None) -> logging.Handler:
    if cfg is None:
        return logging.FileHandler(log_file, mode)
    if "type" not in cfg:
        raise ArgumentError(f"file_handler_cfg must have a `type`, but got {cfg}")
    known = {
        name: found
        for name, found in vars(logging.handlers).items()
        if isinstance(found, type) and issubclass(found, logging.FileHandler)
    }
    # A copy: MMEngine 0.10.7 takes `type` out of the given dict and writes the file's name into it.
    arguments = {"filename": log_file, **cfg}
    kind = arguments.pop("type")
    if kind not in known:
        raise ValueError(
            f"`logging.handlers` does not contain {kind}: choose from {', '.join(sorted(known))}."
        )
    return known[kind](**arguments)
