"""The options of ``fit``, ``validate``, ``test`` and ``predict``, and the words of a command line in their order."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import yaml

from mm2pl.cli.changes import SCHEDULES
from mm2pl.cli.habits import EVAL, instead_of
from mm2pl.closest import closest
from mm2pl.config import DictAction
from mm2pl.errors import ArgumentError

LIGHTNING_FLAG = re.compile(
    r"--((trainer|model|data|optimizer|lr_scheduler)([.+][\w.+-]+)?"
    r"|seed_everything|return_predictions|weights_only)(=.*)?",
    # A value such as JSON may have several lines.
    re.DOTALL,
)
CONFIG_ENDINGS = (".py", ".yaml", ".yml", ".json")
USAGE = dict.fromkeys(("fit", "check"), "%(prog)s CONFIG [options]")


class Word(NamedTuple):
    """One thing that a command line says; later ones win.

    Attributes:
        kind: What it is.
        value: The path of a config, the keys and values of ``--cfg-options``, a flag of LightningCLI's as it stands, or
            the content of a YAML.
    """

    kind: Literal["config", "cfg_options", "flag", "content"]
    value: Any


class OptionParser(argparse.ArgumentParser):
    """Remember the options, to suggest one for a misspelt one; argparse keeps them to itself."""

    def __init__(self, **kwargs: Any) -> None:
        self.flags: list[str] = []
        super().__init__(**kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument as ``ArgumentParser`` does."""
        action = super().add_argument(*args, **kwargs)
        self.flags += action.option_strings
        return action


class _Said(argparse.Action):
    """Append a word; ``const`` is its kind."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.words.append(Word(self.const, values))


class _Pairs(DictAction):
    """Collect the ``KEY=VALUE`` pairs of ``--cfg-options``; a dict is refused.

    MMEngine 0.10.7 takes ``{b: 1}`` for a text, splits ``{b: 1, c: 2}`` in two, and recurses on others without end.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        for pair in [values] if isinstance(values, str) else values or ():
            key, _, text = pair.partition("=")
            if _gives_dict(text):
                parser.error(
                    f"{option_string} {pair!r} → a number, a text or a list is needed, and {text!r} is a dict → give "
                    f"each of its keys: {key}.KEY=VALUE; --data.… and --model.… take whole dicts as YAML"
                )
        super().__call__(parser, namespace, values, option_string)


def _gives_dict(text: str) -> bool:
    """Return whether a value, or an element of it, is written as a dict.

    >>> [_gives_dict(text) for text in ("{b: 1}", "[{b: 1}]", "dict(b=1)", "{epoch:03d}", "{epoch}_{iter:05d}")]
    [True, True, True, False, False]
    """
    text = text.strip()
    if text.startswith("dict("):
        return True
    # Outside of brackets and quotes, `a: b` is a text.
    if not text.startswith(("{", "[", "(", "'", '"')):
        return False
    if text.startswith("("):  # a tuple, which YAML does not know
        text = f"[{text[1:-1]}]"
    try:
        return _is_dict(yaml.load(text, yaml.BaseLoader))
    except yaml.YAMLError:
        return False


def _is_dict(value: Any) -> bool:
    if isinstance(value, Mapping):
        # {epoch:03d} has no space behind its colon: YAML takes it for a key without a value.
        return len(value) != 1 or "" not in value.values()
    if isinstance(value, list):
        return any(map(_is_dict, value))
    return _gives_dict(value)


class _SaidPairs(_Pairs):
    """Append a word with the ``KEY=VALUE`` pairs of ``--cfg-options``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        pairs = argparse.Namespace()
        super().__call__(parser, pairs, values, option_string)
        namespace.words.append(Word("cfg_options", getattr(pairs, self.dest)))


def add_reading_options(
    parser: argparse.ArgumentParser, pairs: type[argparse.Action] = _Pairs
) -> None:
    """Add what changes how a config is read, the same for every command."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=pairs,
        metavar="KEY=VALUE",
        help="change the config: a.b=1 c.0.d=[1,2]",
    )
    parser.add_argument("--safe", action="store_true", help="read the config without executing it")
    parser.add_argument(
        "--strict", action="store_true", help="make the warnings about ignored keys errors"
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--work-dir", help="where checkpoints and logs go (over the config's; ./work_dirs/NAME)")
    launchers = ["none", "pytorch", "slurm", "mpi"]
    add("--launcher", choices=launchers, help="how the processes were started")
    add("--local_rank", "--local-rank", help=argparse.SUPPRESS)  # from torch.distributed.launch
    # With an underscore, as LightningCLI spells it.
    add("--print_config", action="store_true", help="print the run as LightningCLI YAML, and stop")
    add("--lightning-help", action="store_true", help="list the Trainer's options")


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    resume = "continue the run in the work folder if there is one, or of PATH; --resume=must starts no other"
    add("--resume", nargs="?", const="auto", metavar="PATH", help=resume)
    plan = "the schedules' plan: of the checkpoint, anew from the config, or the config's at the checkpoint's progress"
    add("--resume-param-scheduler", choices=list(SCHEDULES), help=f"with --resume: {plan}")
    anew = "with --resume: false begins with a new optimizer"
    add("--resume-optimizer", choices=["true", "false"], help=anew)
    add("--ckpt_path", help="LightningCLI's name of --resume PATH; also 'last' and 'best'")
    add("--amp", action="store_true", help="train with automatic mixed precision")
    scale = "scale the learning rate to the real batch size"
    add("--auto-scale-lr", action="store_true", help=scale)
    force = "train in a work folder in which another run seems to train"
    add("--force-lock", action="store_true", help=force)
    nan = "stop at the first loss that is NaN or infinite, with a checkpoint of before it"
    stop = Word("flag", "--trainer.callbacks+=mm2pl.lightning.StopBeforeNaN")
    add("--detect-nan", action="append_const", dest="words", const=stop, help=nan)
    add("--no-validate", action="store_true", help="do not validate while training")


def _add_evaluation_options(parser: argparse.ArgumentParser, command: str) -> None:
    add = parser.add_argument
    add("--ckpt_path", help="the same as CHECKPOINT; also 'best' or 'last' of the work folder")
    if command in ("test", "predict"):
        add("--out", metavar="FILE.pkl", help="write the predictions to a pickle file")
    if command == "test":
        tta = "test-time augmentation with tta_model and tta_pipeline"
        add("--tta", action="store_true", help=tta)
        add("--show-dir", help="write pictures of the predictions to this folder of the log folder")


def _add_checking_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    alone = "only what the config alone tells; nothing is built"
    parser.add_argument("--no-build", action="store_true", help=alone)


def build_parser(command: str, prog: str = "mm2pl") -> OptionParser:
    """Return the parser of mm2pl's own options; the words and LightningCLI's options are left over."""
    parser = OptionParser(
        prog=f"{prog} {command}",
        usage=USAGE.get(command, "%(prog)s CONFIG [CHECKPOINT] [options]"),
        description="CONFIG is an MMEngine config (.py, .yaml, .json, PACKAGE::path) or LightningCLI YAML.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every Trainer argument is an option too: --trainer.max_epochs 3, --trainer.callbacks+=NAME, …\n"
        "--lightning-help lists them all.",
        allow_abbrev=False,
    )
    configs = "a config; may be repeated, later ones win"
    parser.add_argument("--config", "-c", action=_Said, const="config", help=configs)
    parser.add_argument("--lightning", action=_Said, const="flag", help=argparse.SUPPRESS)
    parser.set_defaults(words=[])
    add_reading_options(parser, _SaidPairs)
    _add_run_options(parser)
    if command in EVAL:
        _add_evaluation_options(parser, command)
    else:
        _add_training_options(parser)
    if command == "check":
        _add_checking_options(parser)
    return parser


def parse(
    command: str,
    arguments: Sequence[str],
    own: Mapping[str, bool] | None = None,
    prog: str = "mm2pl",
) -> argparse.Namespace:
    """Read a command line: mm2pl's options, and ``words`` in the order given.

    The config and the checkpoint may stand anywhere between the options; argparse's own positional arguments may not.

    Args:
        command: ``fit``, ``check``, ``validate``, ``test`` or ``predict``.
        arguments: What follows it.
        own: Options that a subclass of LightningCLI has added, and whether each takes a value.
        prog: The program's name.

    Raises:
        SystemExit: With code 2, after one message that says what is wrong.
        ValueError: If a checkpoint is given twice.
    """
    joined = join_values(arguments, own or {})
    parser = build_parser(command, prog)
    options, left = parser.parse_known_args(
        [f"--lightning={a}" if _is_flag(a, own or {}) else a for a in joined],
        # A list of its own: argparse hands over the default object itself.
        argparse.Namespace(words=[]),
    )
    if getattr(options, "force_lock", False):
        os.environ["MM2PL_FORCE_LOCK"] = "1"  # of this process and those that a launcher starts
    unknown = [argument for argument in left if argument.startswith("-")]
    if unknown:
        parser.error("\n".join(_unknown(parser, command, each, joined) for each in unknown))
    words = left
    named = any(word.kind == "config" for word in options.words)
    # With --config, a single word is the checkpoint, unless it looks like a config.
    if words and (not named or words[0].endswith(CONFIG_ENDINGS)):
        options.words.insert(0, Word("config", words.pop(0)))
    if words and command in EVAL:
        checkpoint = words.pop(0)
        if options.ckpt_path:
            raise ArgumentError(
                f"two checkpoints: {checkpoint!r} and --ckpt_path {options.ckpt_path!r} → give one"
            )
        options.ckpt_path = checkpoint
    if words:
        parser.error(_too_much(words[0]))
    return options


def join_values(arguments: Sequence[str], own: Mapping[str, bool]) -> list[str]:
    """Write ``--trainer.x 3`` as ``--trainer.x=3``: argparse does not know the option, and would take 3 for a word."""
    joined: list[str] = []
    for argument in arguments:
        waiting = bool(joined) and "=" not in joined[-1] and _is_flag(joined[-1], own)
        if waiting and own.get(joined[-1], True) and not argument.startswith("--"):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined


def _is_flag(argument: str, own: Mapping[str, bool]) -> bool:
    """Return whether LightningCLI's parser reads an argument: its own options, and a subclass's."""
    if LIGHTNING_FLAG.fullmatch(argument):
        return True
    name = argument.partition("=")[0]
    # An argument of a class has options below it: --encoder=NAME and --encoder.init_args.depth=3.
    return any(name == each or name.startswith((f"{each}.", f"{each}+")) for each in own)


def _too_much(word: str) -> str:
    if "=" in word:
        return f"{word!r} → to change the config, write --cfg-options {word}"
    return f"{word!r} is one word too many → more configs are given with --config"


def _unknown(parser: OptionParser, command: str, argument: str, arguments: list[str]) -> str:
    name, equals, value = argument.partition("=")
    if not equals:
        following = arguments[arguments.index(argument) + 1 :][:1]
        value = "".join(each for each in following if not each.startswith("-"))
    if meant := instead_of(command, name, value):
        given = f"{argument} {value}".strip() if not equals else argument
        return f"unknown option {given!r} → {meant}"
    known = {flag.strip("-"): flag for flag in parser.flags}
    part, dot, below = name.strip("-").partition(".")
    if dot and (near := closest(part, ("trainer", "model", "data"), 1)):
        return f"unknown option {name!r} → did you mean '--{near[0]}.{below}'?"
    close = closest(name.strip("-"), known, 1)
    if close:
        return f"unknown option {name!r} → did you mean {known[close[0]]!r}?"
    return f"unknown option {name!r} → see {parser.prog} --help and {parser.prog} --lightning-help"
