"""``mm2pl migrate``: bring MMCV 1.x configs over, a file or a folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def run(command: str, arguments: list[str]) -> None:
    """Migrate, and print what became of every key.

    Raises:
        FileExistsError: If an output exists and ``--force`` is not given.
        ValueError: If the config is none of MMCV 1.x.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument("source", help="an MMCV 1.x config, or a folder of them")
    parser.add_argument("-o", "--out", required=True, help="the new file or folder")
    parser.add_argument(
        "--report", metavar="FILE.html", help="old and new side by side, with the lr curves"
    )
    parser.add_argument("--scope", help="the toolbox (mmdet, mmseg, …) if the config does not tell")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    options = parser.parse_args(arguments)
    source = Path(options.source)
    if not source.exists():
        raise FileNotFoundError(f"{options.source!r} does not exist")
    from mm2pl.mmcv.migration.files import migrate_file, migrate_folder

    arguments_of_both = {"force": options.force, "scope": options.scope}
    if source.is_dir():
        files = migrate_folder(source, options.out, **arguments_of_both)
    else:
        files = [migrate_file(source, options.out, **arguments_of_both)]
    for file in files:
        print(
            f"{file.source} → {file.target}{f': copied as it is, {file.error}' if file.error else ''}"
        )
        if not file.error:
            print(file.report)
    if options.report:
        from mm2pl.mmcv.migration.html import report_html

        Path(options.report).write_text(report_html(files))
        print(f"wrote {options.report}")
