"""Rewrite the imports and hooks of MMCV 1.x and MMEngine projects; needs libcst (extra ``migrate``)."""

from mm2pl.mmcv.codemod.run import ChangedFile as ChangedFile
from mm2pl.mmcv.codemod.run import CodeReport as CodeReport
from mm2pl.mmcv.codemod.run import Finding as Finding
from mm2pl.mmcv.codemod.run import migrate_code as migrate_code
from mm2pl.mmcv.codemod.run import migrate_text as migrate_text
