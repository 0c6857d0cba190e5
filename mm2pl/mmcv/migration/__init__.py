"""MMCV 1.x configs and code → MMEngine's, with a report."""

from mm2pl.mmcv.migration.config import Migrated as Migrated
from mm2pl.mmcv.migration.config import migrate_config as migrate_config
from mm2pl.mmcv.migration.config import migrate_with_report as migrate_with_report
from mm2pl.mmcv.migration.report import Entry as Entry
from mm2pl.mmcv.migration.report import Report as Report
from mm2pl.mmcv.migration.report import Status as Status
