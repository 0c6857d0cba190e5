"""Merge what a command line says into one config, in the order given, before it is translated.

Each word is followed (it changes the config, or LightningCLI's parser gets it), or refused with the word that does it.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mm2pl.cli.options import Word
from mm2pl.cli.yaml_run import SECTIONS, config_of_yaml, names_run, run_of_yaml
from mm2pl.closest import did_you_mean, misspelt
from mm2pl.config import Config, DictAction
from mm2pl.errors import ArgumentError
from mm2pl.plan.containers import join, lists
from mm2pl.plan.fault import Fault, short
from mm2pl.plan.keys import KEYS
from mm2pl.plan.overrides import without_effect
from mm2pl.plan.translate import Plan, translate
from mm2pl.utils import get_object_from_string

CLASSES = {"model": "mm2pl.lightning.MMLightningModule", "data": "mm2pl.lightning.MMDataModule"}

MODULE_KEYS = frozenset(
    {"default_scope", *(name for name, key in KEYS.items() if key.section == "model")}
)
"""Arguments of :class:`~mm2pl.lightning.MMLightningModule` that are top-level keys of a config."""

_PARTS = {"model": MODULE_KEYS, "data": {k for k, key in KEYS.items() if key.section == "data"}}
_TRAINER_FLAG = re.compile(r"--trainer\.(\w+)(\+?)(\.[\w.+-]+)?(?:=(.*))?", re.DOTALL)


@dataclass
class Asked:
    """What a command line asks for, while its words are merged.

    Attributes:
        cfg: The config of the run.
        arguments: What LightningCLI's parser is to read, in order: flags, and YAML as ``--config={…}``.
        given: Trainer arguments that the user has set, with the word that did it.
        values: Those that the user has given as a whole, with their values.
        classes: ``class_path`` and arguments of one's own for ``model`` and ``data``, in LightningCLI's form.
        doubts: Words that nothing reads.
        origins: Dotted key → the last word that has set it.
        ckpt_path: The checkpoint that a YAML names.
        path: The file that the config is of.
    """

    cfg: Config
    arguments: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, dict[str, Any]] = field(default_factory=lambda: {"model": {}, "data": {}})
    doubts: list[Fault] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    ckpt_path: str | None = None
    path: str | None = None

    @classmethod
    def of(cls, cfg: Config, classes: Mapping[str, str], path: str | None = None) -> Asked:
        """Begin with the config of a file, and the classes that a program has chosen."""
        asked = cls(cfg=cfg, path=path)
        for part, chosen in classes.items():
            asked.classes[part]["class_path"] = chosen
        return asked

    def seed(self, seed: int | None) -> None:
        """Let the run begin with a seed; ``None`` draws one."""
        given = self.cfg.get("randomness")
        # Anything else is refused with its key, once all words are merged.
        if given is None or isinstance(given, Mapping):
            self.cfg.randomness = {**(given or {}), "seed": seed}

    def takes(self, part: str, name: str) -> bool:
        """Return whether the class of a part has an argument of its own of that name."""
        path = self.classes[part].get("class_path")
        made = get_object_from_string(path) if path else None
        return name not in _PARTS[part] and name in _parameters(made)

    def change(self, values: Mapping[str, Any], word: str) -> None:
        """Put values by dotted key over the config; ``word`` says so."""
        self.cfg.merge_from_dict(dict(values))
        for key in _leaves(values):
            self.origins.pop(key, None)  # the last one counts
            self.origins[key] = word


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the dotted paths of the values in dicts of dicts.

    >>> list(_leaves({"a.b": {"c": 1}, "d": [2]}))
    ['a.b.c', 'd']
    """
    for key, value in values.items():
        where = join(path, key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, where)
        else:
            yield where


def _parameters(made: object) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(made).parameters if isinstance(made, type) else {}


def merge(words: list[tuple[Word, Any]], base: int, asked: Asked) -> Asked:
    """Merge all words into a config.

    Args:
        words: Each word with its content: a ``Config``, or the dict of a YAML; ``None`` for other words.
        base: Which of them ``asked.cfg`` is: the first config, or the first YAML with a run.
        asked: What is asked for so far; it is changed.

    Raises:
        ValueError: If a word cannot be followed.
    """
    for number, (word, content) in enumerate(words):
        if word.kind == "cfg_options":
            asked.doubts += without_effect(word.value, dict(asked.cfg.items()))
            asked.change(word.value, "--cfg-options")
        elif word.kind == "flag":
            _follow_flag(asked, word.value)
        elif isinstance(content, Config):
            if number != base:
                asked.doubts += _nearly_lightnings(dict(content.items()), str(word.value))
                asked.change(dict(content.items()), str(word.value))
        else:
            name = word.value if word.kind == "config" else "the YAML"
            _follow_yaml(asked, content, name, is_base=number == base)
    return asked


def _nearly_lightnings(content: Mapping[str, Any], name: str) -> Iterator[Fault]:
    """Yield the keys of an overlay that are nearly LightningCLI's, and so were read as variables of a config."""
    for key in content:
        meant = misspelt(str(key), SECTIONS)
        if meant and key not in KEYS:
            yield Fault(
                path=str(key),
                given=short(content[key]),
                why="nothing reads it",
                advice=did_you_mean([meant]).strip(),
                severity="warning",
                origin=name,
            )


def _follow_yaml(asked: Asked, content: Mapping[str, Any], name: str, is_base: bool) -> None:
    """Merge a YAML in LightningCLI's form: what is the config's into the config, the rest as arguments."""
    run = run_of_yaml(content)
    own = config_of_yaml(content, None) if run else None
    if own is not None and not is_base:
        asked.change(dict(own.items()), name)
    rest: dict[str, Any] = {}
    for key, value in content.items():
        if key in _PARTS:
            _follow_part(asked, key, value, name, own)
        elif key == "trainer":
            if not isinstance(value, Mapping | None):
                raise ArgumentError(f"trainer: {value!r} in {name} → a dict of Trainer arguments")
            rest["trainer"] = dict(_trainer_words(asked, value or {}, name, own))
        elif key == "seed_everything":
            _seed(asked, value)
        elif key == "ckpt_path":
            asked.ckpt_path = value
        elif key in KEYS:
            asked.change({key: value}, name)
        else:  # an argument that a subclass has added; LightningCLI's parser refuses any other
            rest[key] = value
    if rest:
        asked.arguments.append(f"--config={json.dumps(rest)}")


def _trainer_words(
    asked: Asked, trainer: Mapping[str, Any], name: str, own: Config | None
) -> Iterator[tuple[str, Any]]:
    """Yield the Trainer arguments of a YAML that are left to LightningCLI's parser."""
    # What `mm2pl convert` has written follows from the config, which later words may change.
    planned = lists(translate(dict(own.items())).trainer) if own is not None else {}
    for key, value in trainer.items():
        if key == "callbacks":
            several = value if isinstance(value, list) else [value]
            callbacks = [c for c in several if c is not None and not _is_planned(c, planned)]
            if callbacks:
                yield key, callbacks
            continue
        written = key in planned and planned[key] == value
        if not written and not _follow_trainer(
            asked, key, value, f"trainer.{key}: {value} in {name}"
        ):
            yield key, value


def _is_planned(callback: Any, planned: Mapping[str, Any]) -> bool:
    if callback in planned.get("callbacks", []):
        return True
    return isinstance(callback, dict) and names_run(callback.get("class_path"))


def _follow_part(asked: Asked, part: str, value: Any, name: str, own: Config | None) -> None:
    """Merge ``model`` or ``data`` of a YAML: its ``init_args`` are keys of a config, or a subclass's own."""
    if not isinstance(value, dict):
        asked.classes[part]["class_path"] = value
        return
    if value.keys().isdisjoint(("class_path", "init_args")):
        # MMEngine's form in a YAML of mixed forms, or LightningCLI's without a class.
        inside = "type" not in value and bool(_PARTS[part] & value.keys())
        value = {"init_args": value if inside else {part: value}}
    # mm2pl's own class stands in every YAML that `mm2pl convert` writes, and replaces no subclass.
    if value.get("class_path", CLASSES[part]) != CLASSES[part]:
        asked.classes[part]["class_path"] = value["class_path"]
    arguments = value.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ArgumentError(f"{part}.init_args: {arguments!r} in {name} → a dict is needed")
    for key, item in arguments.items():
        if key in _PARTS[part]:
            if own is None:
                asked.change({key: item}, name)
        elif key in ("seed", "diff_rank_seed") and part == "data":
            if item != (asked.cfg.get("randomness") or {}).get(key, item if own else None):
                raise ArgumentError(
                    f"data.init_args.{key}: {item} in {name} → a run seeds its data by randomness.{key}: "
                    f"--cfg-options randomness.{key}={item}"
                )
        else:
            asked.classes[part].setdefault("init_args", {})[key] = item


def _follow_flag(asked: Asked, flag: str) -> None:
    trainer = _TRAINER_FLAG.fullmatch(flag)
    if trainer:
        name, plus, below, text = trainer.groups()
        whole = not plus and not below and text is not None
        if not (whole and _follow_trainer(asked, name, value_of(text), flag.replace("=", " ", 1))):
            asked.given.setdefault(name, flag)
            asked.arguments.append(flag)
        return
    name, equals, text = flag.removeprefix("--").partition("=")
    part, _, inside = name.partition(".")
    if part == "seed_everything":
        _seed(asked, value_of(text) if equals else True)
    # A key may be given an empty value, a class may not.
    elif part in _PARTS and not (text if inside in ("", "class_path") else equals):
        raise ArgumentError(f"--{name} without a value → --{name} VALUE")
    elif part in _PARTS and inside in ("", "class_path"):
        asked.classes[part]["class_path"] = text
    elif part in _PARTS and asked.takes(part, own := inside.removeprefix("init_args.")):
        asked.classes[part].setdefault("init_args", {})[own] = value_of(text)
    elif part in _PARTS:
        key = key_of(part, inside)
        word, value = f"--{name}", value_of(text)
        asked.doubts += without_effect({key: value}, dict(asked.cfg.items()), word)
        asked.change({key: value}, word)
    elif part in ("optimizer", "lr_scheduler"):
        meant = f"optim_wrapper.{name}" if part == "optimizer" else "param_scheduler.0." + inside
        raise ArgumentError(
            f"--{name} on an MMEngine config → use --cfg-options {meant}={text or '…'} instead"
        )
    else:
        asked.arguments.append(flag)


def key_of(part: str, inside: str) -> str:
    """Return the config's key that ``--model.…`` or ``--data.…`` changes.

    >>> key_of("model", "optim_wrapper.optimizer.lr"), key_of("model", "init_args.width")
    ('optim_wrapper.optimizer.lr', 'model.width')
    """
    inside = inside.removeprefix("init_args.")
    # Any other name is of MMEngine's model, not of the LightningModule.
    own_key = part == "model" and inside.split(".")[0] not in MODULE_KEYS
    return f"model.{inside}" if own_key else inside


def value_of(text: str | None) -> Any:
    """Return an option's value as a YAML file or ``--cfg-options`` would have it.

    >>> value_of("1e-3"), value_of("{a: 1}"), value_of("null"), value_of("SGD")
    (0.001, {'a': 1}, None, 'SGD')
    """
    try:
        value = yaml.safe_load(text or "")
    except yaml.YAMLError:
        value = text
    # YAML 1.1 takes 1e-3 for text.
    return DictAction._parse_int_float_bool(value) if isinstance(value, str) else value


def _seed(asked: Asked, value: object) -> None:
    """Follow ``seed_everything``: a number; true draws one, as a run without a seed does; false leaves the config's."""
    if value is False:
        return
    if value is not True and value is not None and not isinstance(value, int):
        raise ArgumentError(f"--seed_everything {value} → a whole number, true or false is needed")
    asked.seed(None if value is True else value)


# Trainer arguments that a run follows by its config, or cannot follow


def _root(asked: Asked, value: Any, said: str) -> None:
    asked.cfg.work_dir = str(value)
    asked.given["default_root_dir"] = said


def _checkpointing(asked: Asked, value: Any, said: str) -> None:
    # The run's callback answers for its CheckpointHook as Lightning's `Checkpoint`, so the Trainer's own flag stays on.
    if value is False:
        asked.change({"default_hooks.checkpoint": None}, said)
        hooks = asked.cfg.get("custom_hooks")
        if isinstance(hooks, list):
            asked.cfg.custom_hooks = [hook for hook in hooks if not _writes_checkpoints(hook)]
    elif value not in (True, None):
        raise ArgumentError(f"{said} → true or false is needed")


def _writes_checkpoints(hook: object) -> bool:
    """Return whether a hook of a config is a CheckpointHook, by any of its names, or a subclass."""
    kind = hook.get("type") if isinstance(hook, Mapping) else hook
    # Only here: a config that switches nothing off needs no hooks yet.
    from mm2pl.hooks import CheckpointHook
    from mm2pl.registry import HOOKS

    found = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, CheckpointHook) or (
        isinstance(found, type) and issubclass(found, CheckpointHook)
    )


def _barebones(asked: Asked, value: Any, said: str) -> None:
    if value is not False:
        raise ArgumentError(
            f"{said} switches off what a run consists of: its hooks, log and checkpoints → leave it out; to measure "
            "the loop alone, default_hooks=dict(logger=None, checkpoint=None, …) removes hooks"
        )


_TRAINER: dict[str, Callable[[Asked, Any, str], None]] = {
    "default_root_dir": _root,
    "enable_checkpointing": _checkpointing,
    "barebones": _barebones,
}
"""Trainer argument → how a run follows it."""


def _follow_trainer(asked: Asked, name: str, value: Any, said: str) -> bool:
    """Follow a Trainer argument by the config; ``False`` leaves it to LightningCLI's parser."""
    follow = _TRAINER.get(name)
    if follow is not None:
        follow(asked, value, said)
        return True
    asked.given[name], asked.values[name] = said, value
    return False


def require_possible(asked: Asked, work_dir: str | None) -> None:
    """Refuse words that contradict what the config says in the end.

    Raises:
        ValueError: Naming the word, and the one that does it.
    """
    length, said = asked.cfg.get("train_cfg"), asked.given.get("max_epochs")
    length = length if isinstance(length, Mapping) else {}
    if said and ("max_iters" in length or length.get("by_epoch") is False):
        raise ArgumentError(
            f"{said.replace('=', ' ', 1)} on a run by iterations (train_cfg.max_iters={length.get('max_iters')}) → "
            "--cfg-options train_cfg.max_iters=…"
        )
    root = asked.given.get("default_root_dir")
    if root and work_dir and work_dir != asked.cfg.work_dir:
        raise ArgumentError(f"{root} and --work-dir {work_dir} → they mean the same: give one")


def skeleton(plan: Plan, asked: Asked) -> dict[str, Any]:
    """Return a plan in LightningCLI's form, with the classes asked for and without the run's callback.

    The run is not an element of the list of callbacks, which a user may replace.
    """
    form = plan.as_cli()
    for part, own in asked.classes.items():
        if "class_path" in own:
            form[part]["class_path"] = own["class_path"]
        form[part]["init_args"] = {**(own.get("init_args") or {}), **form[part]["init_args"]}
    del form["trainer"]["callbacks"]
    return form
