"""MMCV 1.x projects: their configs and code brought over, or run as they are."""

from mm2pl.mmcv.migration import Entry as Entry
from mm2pl.mmcv.migration import Migrated as Migrated
from mm2pl.mmcv.migration import Report as Report
from mm2pl.mmcv.migration import Status as Status
from mm2pl.mmcv.migration import is_old_style as is_old_style
from mm2pl.mmcv.migration import migrate_config as migrate_config
from mm2pl.mmcv.migration import migrate_with_report as migrate_with_report
