"""The text of one migrated config file: the user's statements, with the migrated keys in their places."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mm2pl.mmcv.migration.config import NotMigratedError
from mm2pl.mmcv.migration.render import Renderer
from mm2pl.mmcv.migration.source import Source, Statement, loaded_names

ANCHORS: dict[str, tuple[str, ...]] = {
    "default_scope": ("log_level", "dist_params", "log_config", "runner"),
    "data_preprocessor": ("img_norm_cfg", "data"),
    "optim_wrapper": ("optimizer", "optimizer_config", "fp16"),
    "model_wrapper_cfg": ("optimizer_config", "optimizer"),
    "param_scheduler": ("lr_config", "momentum_config", "optimizer"),
    "train_cfg": ("runner", "total_epochs", "total_iters", "evaluation", "workflow"),
    "val_cfg": ("runner", "total_epochs", "total_iters", "evaluation"),
    "test_cfg": ("runner", "total_epochs", "total_iters", "evaluation"),
    "train_dataloader": ("data",),
    "val_dataloader": ("data",),
    "test_dataloader": ("data",),
    "val_evaluator": ("evaluation", "data"),
    "test_evaluator": ("evaluation", "data"),
    "default_hooks": ("checkpoint_config", "log_config", "evaluation"),
    "log_processor": ("log_config",),
    "vis_backends": ("log_config",),
    "visualizer": ("log_config",),
    "env_cfg": ("dist_params", "cudnn_benchmark", "opencv_num_threads", "mp_start_method"),
    "randomness": ("seed", "deterministic", "diff_seed"),
    "load_from": ("load_from", "resume_from"),
    "resume": ("resume_from", "auto_resume", "load_from"),
}
"""New keys → the old statements in whose place they are written, the best first."""

# So the file says test_dataloader = val_dataloader, as MMEngine's configs do.
_NEW_NAMES = ("vis_backends", "val_dataloader", "val_evaluator")
"""New variables that later statements may name."""

Loader = Callable[[str], Mapping[str, Any]]


def delta(new: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config file must set on top of ``base`` to be ``new``.

    Example:
        >>> delta(dict(a=dict(b=1, c=2), d=3), dict(a=dict(b=0, c=2), d=3, e=4))
        {'a': {'b': 1}, 'e': None}
        >>> delta(dict(a=dict(b=1)), dict(a=dict(c=2)))
        {'a': {'_delete_': True, 'b': 1}}
    """
    out = _inner_delta(new, base)
    # MMEngine's `_delete_` works inside dicts only. At the top None is as good as absent.
    out.update({key: None for key, value in base.items() if key not in new and value is not None})
    return out


def _inner_delta(new: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in new.items():
        if key not in base:
            out[key] = value
        elif base[key] == value:
            continue
        elif not isinstance(value, Mapping):
            out[key] = value
        elif isinstance(base[key], Mapping) and not set(base[key]) - set(value):
            out[key] = _inner_delta(value, base[key])
        else:
            # Merging alone cannot remove a key that the base has.
            out[key] = {"_delete_": True, **value}
    return out


class Rewriting:
    """One file, old and new.

    Args:
        source: The old file.
        old: What it was, resolved.
        new: What it becomes, resolved, with the words of the old file.
        base: What the migrated ``_base_`` files amount to; empty to make the file stand alone.
        without: New keys that another file sets.
    """

    def __init__(
        self,
        source: Source,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        base: Mapping[str, Any] | None,
        without: Iterable[str] = (),
    ) -> None:
        self.source = source
        self.old = old
        self.new = new
        self.alone = base is None
        self.base = base or {}
        self.delta = {k: v for k, v in delta(new, self.base).items() if k not in set(without)}

    def text(self, loads: Loader) -> str:
        """Return the new text, as close to the old one as loads to the right values.

        Args:
            loads: Return the resolved config of a text in the place of the file.

        Raises:
            NotMigratedError: No text does, because a value is an object that has no expression.
        """
        kept: set[str] = set()
        # From the closest to the old text to the plainest.
        # The second try repeats the first with the variables that it found missing.
        for words, statements in ((True, True), (True, True), (False, True), (False, False)):
            text = self._compose(words, statements, kept)
            # A statement that was left out may define what a kept one reads.
            missing = self._undefined(text)
            if missing and words:
                kept = missing
                text = self._compose(words, statements, kept)
            if self._is_right(text, loads, kept):
                return text
        raise NotMigratedError("a value of the config is an object that cannot be written as text")

    def _is_right(self, text: str, loads: Loader, kept: set[str]) -> bool:
        try:
            found = loads(text)
        except Exception:  # a user's config may raise anything: the next attempt is plainer
            return False
        expected = {**self.base, **{k: v for k, v in self.new.items() if k in self.delta}}
        # None and absent are one: `delta` removes keys by None.
        expected = {k: v for k, v in {**expected, **self._verbatim()}.items() if v is not None}
        for key in self.delta:
            if self.delta[key] is None:
                expected.pop(key, None)
        got = {k: v for k, v in found.items() if v is not None and k not in kept}
        return got == {k: v for k, v in expected.items() if k not in kept}

    def _verbatim(self) -> dict[str, Any]:
        return {name: self.new[name] for name in self.source.names if self._unchanged(name)}

    def _unchanged(self, name: str) -> bool:
        return name in self.new and name in self.old and self.new[name] == self.old[name]

    def _compose(self, words: bool, statements: bool, kept: set[str]) -> str:
        composer = _Composer(self, words, statements, kept)
        return composer.compose()

    def _undefined(self, text: str) -> set[str]:
        """Return variables that the new text reads and the old file, but not the new text, sets."""
        try:
            tree = ast.parse(text)
        # An object without an expression, such as `<class 'A'>`; loading the text then says that it is not right.
        except SyntaxError:
            return set()
        stored = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        # Only variables of the old file: names such as `range` are Python's.
        return (set(loaded_names(tree)) - stored) & self.source.names


class _Composer:
    def __init__(self, job: Rewriting, words: bool, statements: bool, kept: set[str]) -> None:
        self.job = job
        self.words = words
        self.statements = statements
        self.kept = kept
        self.renderer = Renderer(self._base_names() if words else None, words=words)
        self.out: list[str] = []
        self.pending: list[str] = []
        self.emitted: set[str] = set()
        # A name for a value that nobody used as a variable would surprise.
        self.nameable = (job.source.used_names() & job.source.names) | set(_NEW_NAMES)
        self.nameable |= {key for key in job.delta if key.endswith("_pipeline")}
        self.at = self._places()

    def compose(self) -> str:
        """Return the whole text."""
        last = {s.name: i for i, s in enumerate(self.job.source.statements) if s.name}
        for index, statement in enumerate(self.job.source.statements):
            name = statement.name
            if name is None:
                if self.statements:
                    self._keep(statement)
            elif name == "_base_":
                self._keep(statement) if not self.job.alone else self._drop(statement)
            elif self.statements and (self.job._unchanged(name) or name in self.kept):
                self._keep(statement)
                if last[name] == index:
                    self._replace(statement, self.at.get(index, []), above=False)
            # A variable that is assigned twice: only the last assignment has the value of the config.
            elif last[name] != index:
                self._drop(statement)
            else:
                self._replace(statement, self.at.get(index, []))
        self._rest()
        self.out += self.pending
        self.out += self.job.source.tail
        return "\n".join(self.out).strip("\n") + "\n"

    def _base_names(self) -> dict[str, Any]:
        """Return the file's expressions that read containers of ``_base_``, where that still works."""
        names = {}
        references = {} if self.job.alone else self.job.source.base_references()
        braces = any("{{" in s.text for s in self.job.source.statements)
        for expression, path in references.items():
            if braces != expression.startswith("{{"):
                continue
            value: Any = self.job.base
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(value, Mapping | list | tuple):
                names[expression] = value
        return names

    def _places(self) -> dict[int, list[str]]:
        """Return the new keys by the index of the old statement that they replace."""
        last = {s.name: i for i, s in enumerate(self.job.source.statements) if s.name}
        places: dict[int, list[str]] = {}
        for key in self.job.delta:
            if key in last:
                if not self.job._unchanged(key) or not self.statements:
                    places.setdefault(last[key], []).append(key)
                continue
            spots = [last[anchor] for anchor in ANCHORS.get(key, ()) if anchor in last]
            if spots:
                places.setdefault(spots[0], []).append(key)
        return places

    def _keep(self, statement: Statement) -> None:
        self.out += [*self.pending, *statement.leading, statement.text]
        self.pending = []
        if statement.name is not None:
            self._emitted(statement.name)

    def _emitted(self, name: str) -> None:
        self.emitted.add(name)
        if name in self.nameable and name in self.job.new:
            value = self.job.new[name]
            if name in self.job.base and self.job.delta.get(name) != value:
                return  # the variable holds only what is merged into the base's
            if isinstance(value, Mapping | list | tuple) and self.words:
                self.renderer.names[name] = value

    def _drop(self, statement: Statement) -> None:
        self._hold(statement.leading, statement.comments)

    def _hold(self, leading: list[str], comments: list[str]) -> None:
        """Keep comments for above the next statement; blank lines are not kept twice."""
        # `# yapf: disable` belongs to the layout of the old statement.
        self.pending += [line for line in leading if line.strip() and not _is_tool_comment(line)]
        self.pending += [c for c in comments if c not in self.renderer.carried]

    def _replace(self, statement: Statement, keys: list[str], above: bool = True) -> None:
        texts = []
        for key in keys:
            texts.append(self.renderer.assignment(key, self.job.delta[key]))
            self._emitted(key)
        if not above:
            self.out += texts
            return
        if not texts:
            self._drop(statement)
            return
        blank = [""] if statement.leading and not statement.leading[0].strip() and self.out else []
        leading = [line for line in statement.leading if not _is_tool_comment(line)]
        while leading and not leading[0].strip():
            leading.pop(0)
        loose = [c for c in statement.comments if c not in self.renderer.carried]
        self.out += [*blank, *self.pending, *leading, *loose, *texts]
        self.pending = []

    def _rest(self) -> None:
        """Write what has no place in the old file."""
        rest = [key for key in self.job.delta if key not in self.emitted]
        for key in rest:
            self.out.append(self.renderer.assignment(key, self.job.delta[key]))
            self._emitted(key)


def _is_tool_comment(line: str) -> bool:
    return line.strip().startswith(("# yapf:", "# fmt:"))
