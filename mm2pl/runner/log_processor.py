"""``LogProcessor``, under MMEngine's import path."""

from mm2pl.run.log_processor import LogProcessor as LogProcessor
