"""Log lines, logged numbers and the hub they meet in."""

from mm2pl.logging.history_buffer import HistoryBuffer as HistoryBuffer
from mm2pl.logging.logger import MMLogger as MMLogger
from mm2pl.logging.logger import print_log as print_log
from mm2pl.logging.message_hub import MessageHub as MessageHub
