"""``mm2pl clean``: remove checkpoints of a run that has ended, after saying which."""

from __future__ import annotations

import argparse
import json

from mm2pl.runs.clean import Plan, plan, remove, require_ended
from mm2pl.runs.folders import size_of, work_dir
from mm2pl.runs.listing import size
from mm2pl.runs.record import Run


def run(command: str, arguments: list[str]) -> int:
    """Say what would be removed, ask, and remove it; return 1 if the answer is not yes.

    Raises:
        MissingFileError: The folder is not that of a run.
        StateError: The run is alive, or may be.
        ArgumentError: ``--keep`` names nothing.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument("folder", metavar="WORK_DIR", help="the work folder of a run")
    parser.add_argument(
        "--keep",
        default="best,last",
        metavar="WORDS",
        help="best, last, a number of the newest ones, names of files; default: best,last. What last_checkpoint "
        "names is always kept",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--json", action="store_true", help="does not ask; removes with --yes only")
    options = parser.parse_args(arguments)
    folder = work_dir(options.folder)
    require_ended(folder.path)
    found = plan(Run(folder), [word for word in options.keep.split(",") if word])
    agreed = options.yes and not options.dry_run
    if not options.json:
        print(_text(found))
        if found.remove and not options.yes and not options.dry_run:
            agreed = _asked(len(found.remove))
    if agreed:
        # Somebody may have begun to train there while the question was open.
        require_ended(folder.path)
        remove(found.remove)
    if options.json:
        print(json.dumps(_as_dict(found, agreed), indent=1, ensure_ascii=False))
    elif agreed and found.remove:
        print("removed")
    elif found.remove and not options.dry_run:
        print("nothing was removed")
        return 1
    return 0


def _asked(count: int) -> bool:
    try:
        return input(f"remove {count} of them? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def _text(found: Plan) -> str:
    lines = [f"keep    {path}  ({why})" for path, why in found.keep.items()]
    lines += [f"leave   {path}  (not written by the training)" for path in found.others]
    lines += [f"remove  {path}  {size(size_of(path))}" for path in found.remove]
    if not found.remove:
        return "\n".join([*lines, "there is nothing to remove"])
    return "\n".join([*lines, f"that frees {size(sum(map(size_of, found.remove)))}"])


def _as_dict(found: Plan, removed: bool) -> dict[str, object]:
    return {
        "keep": {str(path): why for path, why in found.keep.items()},
        "leave": [str(path) for path in found.others],
        "remove": [str(path) for path in found.remove],
        "removed": removed,
    }
