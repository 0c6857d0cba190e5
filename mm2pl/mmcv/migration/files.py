"""Config files and folders, migrated with their comments, variables and ``_base_`` structure."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mm2pl.config.computed_base import is_literal
from mm2pl.config.document import find_file
from mm2pl.config.loader import Options, load_file
from mm2pl.errors import ArgumentError, ExistingFileError
from mm2pl.mmcv.migration.bases import base_names, bases_of, family_of, parsed_file, value_of
from mm2pl.mmcv.migration.config import NotMigratedError, migrate_with_report
from mm2pl.mmcv.migration.decisions import AS_SEEN, Choices
from mm2pl.mmcv.migration.recognition import pipelines_of, recognise
from mm2pl.mmcv.migration.report import Entry, Report, Status
from mm2pl.mmcv.migration.rewrite import ANCHORS, Rewriting
from mm2pl.mmcv.migration.source import with_sources
from mm2pl.plan.legacy import LEGACY, is_legacy, modern_keys

_SUFFIXES = (".py", ".json", ".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class MigratedFile:
    """One migrated file.

    Args:
        source: The old file.
        target: The new one.
        old: The old config, resolved.
        new: The new config, resolved.
        text: The new file's text.
        report: What became of the keys.
        error: Why it could not be migrated; empty if nothing was wrong. In a folder it is copied as it is.
        copied: Why there was nothing to migrate, so that it was copied; empty if it was migrated.
        alone: Whether what it inherits is written into it.
    """

    source: Path
    target: Path
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    report: Report = field(default_factory=lambda: Report(()))
    error: str = ""
    copied: str = ""
    alone: bool = False

    @property
    def migrated(self) -> bool:
        """Return whether it was migrated, and not copied as it is."""
        return not (self.error or self.copied)


def migrate_file(
    source: str | Path, target: str | Path, *, force: bool = False, choices: Choices = AS_SEEN
) -> MigratedFile:
    """Write a 1.x config file as a config of today that stands alone.

    What it inherits from ``_base_`` files is written into it; `migrate_folder` keeps them apart.

    Args:
        source: A ``.py``, ``.json`` or ``.yaml`` config.
        target: The file to write.
        force: Whether ``target`` may exist already.
        choices: See `migrate_with_report`.

    Raises:
        FileExistsError: ``target`` exists.
        NotMigratedError: The config does not load, is not an MMCV 1.x config, or has values that MMCV 1.x does not take
            or that have no text.
        ValueError: The formats differ; ``target`` is ``source``.
    """
    source, target = Path(source), Path(target)
    if target.suffix != source.suffix:
        raise ArgumentError(
            f"{str(target)!r}: a {source.suffix} config becomes a {source.suffix} config → name it so; "
            "`mm2pl convert` writes other formats."
        )
    _refuse_itself(source, target)
    _refuse_overwriting([target], force)
    try:
        old = _load(source)
    except Exception as error:  # a user's file may raise anything
        raise NotMigratedError(f"{source} does not load: {error}") from error
    # A config of today would be taken apart by keys that mean something else now, such as train_cfg.
    if not is_legacy(old):
        raise NotMigratedError(f"{source} {_why_not(old)}")
    migrated = migrate_with_report(old, choices)
    if source.suffix == ".py":
        # The new text is loaded before it is written: a config that does not load must not replace a good one.
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / source.name
            text, new = _rewritten(source, place, old, None, choices)
    else:
        text, new = _data_text(migrated.config, target.suffix), migrated.config
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return MigratedFile(
        source=source,
        target=target,
        old=old,
        new=new,
        text=text,
        report=migrated.report,
        alone=True,
    )


def _why_not(config: Mapping[str, Any]) -> str:
    """Return why a config is not migrated."""
    new, left = modern_keys(config), sorted(LEGACY.keys() & set(config))
    if not new:
        return "has none of MMCV 1.x' keys (runner, lr_config, data, …) → only 1.x configs are migrated."
    too = (
        f", though it has {', '.join(left)} too: `mm2pl explain` says what becomes of them"
        if left
        else ""
    )
    return (
        f"has MMEngine's {', '.join(new[:3])} → it is no 1.x config{too}; run it with `mm2pl fit`."
    )


def migrate_folder(
    source: str | Path, target: str | Path, *, force: bool = False, choices: Choices = AS_SEEN
) -> list[MigratedFile]:
    """Write all configs of a folder into another one, each with its ``_base_`` files as before.

    Files that are not configs are copied; so are files that cannot be migrated, and these have an ``error``.

    Args:
        source: The folder.
        target: The new folder.
        force: Whether files in ``target`` may be overwritten.
        choices: See `migrate_with_report`; a file that does not tell its toolbox is of that of most files.

    Raises:
        FileExistsError: A file to write exists.
        NotADirectoryError: ``source`` is not a folder.
        ValueError: It has no configs, or is ``target``.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise NotADirectoryError(
            f"{str(source)!r} is not a folder → give one, or a file to migrate_file."
        )
    _refuse_itself(source, target)
    files = [p for p in sorted(source.rglob("*")) if p.suffix in _SUFFIXES and p.is_file()]
    if not files:
        raise ArgumentError(
            f"{str(source)!r} has no {', '.join(_SUFFIXES)} files → nothing to migrate."
        )
    # All files at once and first, so that a refusal leaves no half-written folder.
    _refuse_overwriting([target / p.relative_to(source) for p in files], force)
    with tempfile.TemporaryDirectory() as folder:
        job = _Folder(source, Path(folder), files, choices)
        results = [job.migrated(path, target / path.relative_to(source)) for path in files]
        for result in results:
            result.target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / result.source.relative_to(source), result.target)
    return results


class _Folder:
    """The migration of a folder, in a scratch folder.

    Args:
        source: The old folder.
        scratch: Where the new files are written, and loaded to see whether they are right.
        files: The files to migrate.
        choices: See `migrate_folder`.
    """

    def __init__(self, source: Path, scratch: Path, files: list[Path], choices: Choices) -> None:
        self.source = source.resolve()
        self.scratch = scratch
        self.files = [path.resolve() for path in files]
        self.old: dict[Path, dict[str, Any]] = {}
        self.errors: dict[Path, str] = {}
        for path in self.files:
            try:
                self.old[path] = _load(path)
            except Exception as error:  # a user's file may raise anything
                self.errors[path] = f"does not load: {error}"
        # Schedules and models have no pipelines to tell the toolbox. Those of the other files stand for them, also
        # where most are of none that is known.
        found = [recognise(old, choices)[0] for old in self.old.values() if pipelines_of(old)]
        counts = Counter(box.scope if box else None for box in found)
        self.choices = replace(choices, folder=counts.most_common(1)[0][0] if counts else None)
        self.reports: dict[Path, Report] = {}
        self.new: dict[Path, dict[str, Any]] = {}
        named: dict[Path, list[Path]] = {}
        # Base files are migrated alone too: their children need to know which keys they inherit.
        for path, old in list(self.old.items()):
            try:
                named[path] = bases_of(path)
                self.new[path], self.reports[path] = migrate_with_report(old, self.choices)
            except NotMigratedError as error:  # one file must not stop the folder
                self.errors[path] = str(error)
                del self.old[path]
        # A base outside the folder is not migrated, so its keys are written into the file.
        self.bases = {
            path: named[path] if all(base in self.old for base in named[path]) else []
            for path in self.old
        }
        self.of_1x = self._of_1x()
        self.without = self._shared_out()
        self.done: dict[Path, tuple[str, dict[str, Any]]] = {}

    def _of_1x(self) -> set[Path]:
        """Return the configs of MMCV 1.x and their bases; a project's own loop may read an ``optimizer`` too."""
        legacy = [path for path, old in self.old.items() if is_legacy(old)]
        found = {member for path in legacy for member in self._family(path)}
        inherited = {base for bases in self.bases.values() for base in bases}
        loose = [
            path
            for path, old in self.old.items()
            if path not in inherited and not {"model", "optimizer"} <= set(old)
        ]
        # A base for files outside the folder is taken for what its neighbours are.
        return found | set(loose) if legacy else found

    def _shared_out(self) -> dict[Path, set[str]]:
        """Return the new keys that each base leaves to a sibling: two bases must not set the same key."""
        without: dict[Path, set[str]] = {path: set() for path in self.old}
        for path, bases in self.bases.items():
            for i, first in enumerate(bases):
                for second in bases[i + 1 :]:
                    both = self._sets(first, without) & self._sets(second, without)
                    # MMEngine 0.10.7's Config refuses a key that two bases set.
                    # `runner` and `evaluation` in different bases both make a train_cfg.
                    for key in both - (set(self.old[first]) & set(self.old[second])):
                        loser = self._loser(key, first, second)
                        # The key may come from a base of the base.
                        for member in self._family(loser):
                            without[member].add(key)
            if len(bases) != len(set(bases)):
                entry = Entry(key="_base_", status=Status.NOTE, note="names a file twice")
                report = self.reports[path]
                self.reports[path] = replace(report, entries=(*report.entries, entry))
        return without

    def _sets(self, path: Path, without: Mapping[Path, set[str]]) -> set[str]:
        return set(self.new[path]) - without[path]

    def _family(self, path: Path) -> Iterable[Path]:
        yield path
        for base in self.bases.get(path, ()):
            yield from self._family(base)

    def _loser(self, key: str, first: Path, second: Path) -> Path:
        """Return the base that has the less important of the old keys that ``key`` is made of."""
        anchors = ANCHORS.get(key, ())

        def rank(path: Path) -> int:
            return next((i for i, a in enumerate(anchors) if a in self.old[path]), len(anchors))

        return first if rank(first) > rank(second) else second

    def migrated(self, path: Path, target: Path) -> MigratedFile:
        """Return the result for one file, written into the scratch folder."""
        resolved = path.resolve()
        copied = error = ""
        if resolved not in self.old:
            error = self.errors[resolved]
        elif not self._concerns(resolved):
            copied = "has none of MMCV 1.x' keys: copied"
        else:
            try:
                text, new = self._write(resolved)
            except NotMigratedError as problem:
                error = str(problem)
            else:
                return MigratedFile(
                    source=path,
                    target=target,
                    old=self.old[resolved],
                    new=new,
                    text=text,
                    report=self.reports[resolved],
                )
        place = self.scratch / resolved.relative_to(self.source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resolved, place)
        text = resolved.read_text(encoding="utf-8", errors="replace")
        return MigratedFile(source=path, target=target, text=text, error=error, copied=copied)

    def _concerns(self, path: Path) -> bool:
        old = self.old[path]
        # A second migration of a folder must change nothing.
        if path not in self.of_1x or (modern_keys(old) and not is_legacy(old)):
            return False
        return self.new[path] != old or bool(self.bases.get(path))

    def _write(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Write one file, its bases first."""
        if path in self.done:
            return self.done[path]
        place = self.scratch / path.relative_to(self.source)
        place.parent.mkdir(parents=True, exist_ok=True)
        base: dict[str, Any] | None = None
        if self.bases.get(path):
            base = {}
            for one in self.bases[path]:
                # Written first and loaded again: the file must match what its bases really are now.
                base.update(self._write(one)[1])
        if path.suffix == ".py":
            result = _rewritten(path, place, self.old[path], base, self.choices, self.without[path])
        else:
            result = _data_text(self.new[path], path.suffix), self.new[path]
        place.write_text(result[0], encoding="utf-8")
        self.done[path] = result
        return result


def _rewritten(
    source: Path,
    place: Path,
    old: Mapping[str, Any],
    base: Mapping[str, Any] | None,
    choices: Choices,
    without: Iterable[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Return the new text of a Python config, and what it loads as from ``place``."""
    parsed = parsed_file(source)
    for statement in parsed.statements:
        # MMEngine reads `_base_` before the variables of its file, so the paths are written out.
        if statement.name == "_base_" and base is not None and not is_literal(value_of(statement)):
            statement.text = f"_base_ = {base_names(source)!r}"
    # The values carry their source text through the migration, which sees only str, int and float.
    # Of the files that are written into it their comments; their variables may stand nowhere any more.
    for path in family_of(source)[:-1] if base is None else ():
        if path.suffix == ".py":
            old = with_sources(old, parsed_file(path), words=False)
    worded = with_sources(old, parsed, base_words=base is not None)
    new = migrate_with_report(worded, choices).config
    job = Rewriting(parsed, old, new, base, without)
    loaded: dict[str, Any] = {}

    def loads(text: str) -> Mapping[str, Any]:
        place.write_text(text, encoding="utf-8")
        loaded.clear()
        # By MMEngine's rules, which has no computed bases.
        loaded.update(_load(place, computed_bases=False))
        return loaded

    try:
        text = job.text(loads)
    except NotMigratedError as error:
        raise NotMigratedError(f"{source}: {error}") from error
    return text, dict(loaded)


def _load(path: Path, *, computed_bases: bool = True) -> dict[str, Any]:
    # Not by Config.fromfile: custom imports may need the old library, and `_base_` may be computed.
    options = Options(computed_bases=computed_bases)
    return load_file(find_file(str(path)), options).values.to_dict()


def _data_text(config: Mapping[str, Any], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(config, indent=2) + "\n"
    import yaml

    return yaml.safe_dump(config, sort_keys=False)


def _refuse_itself(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise ArgumentError(f"{str(target)!r} is the old config itself → write somewhere else.")


def _refuse_overwriting(targets: Iterable[Path], force: bool) -> None:
    existing = [str(path) for path in targets if path.exists()]
    if existing and not force:
        shown = ", ".join(existing[:3]) + (", …" if len(existing) > 3 else "")
        raise ExistingFileError(
            f"{shown}: exists already → write somewhere else, or overwrite with --force (force=True)."
        )
