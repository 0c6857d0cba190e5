"""Configs and the command line: ``--cfg-options a.b=1`` and parsers made from a config."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import Any

_PAIRS = {"(": ")", "[": "]"}


class DictAction(Action):
    """Collect ``KEY=VALUE`` arguments in a dict.

    A value is an int, float, bool or None if it looks like one, else a string; ``V1,V2`` and
    ``[V1,V2]`` are lists, ``(V1,V2)`` is a tuple, nested at will. Spaces are dropped.

    >>> parser = ArgumentParser()
    >>> _ = parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    >>> parser.parse_args(["--cfg-options", "lr=0.1", "model.scales=[(1,2),(3,x)]"]).cfg_options
    {'lr': 0.1, 'model.scales': [(1, 2), (3, 'x')]}
    """

    @staticmethod
    def _parse_int_float_bool(val: str) -> Any:
        # int first: float reads every integer too, and depth=50 would become 50.0.
        for convert in (int, float):
            try:
                return convert(val)
            except ValueError:
                pass
        # MMEngine 0.10.7 ignores the case of true and false, but not that of None.
        return {"true": True, "false": False}.get(val.lower(), None if val == "None" else val)

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        # As in MMEngine 0.10.7, spaces disappear inside quotes too: 'a b' is read as 'ab'.
        val = val.strip("'\"").replace(" ", "")
        elements, opening = _split(val)
        if elements is None:
            return DictAction._parse_int_float_bool(val)
        values = [DictAction._parse_iterable(element) for element in elements]
        return tuple(values) if opening == "(" else values

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the parsed pairs to those of earlier occurrences of the option."""
        # A copy: argparse hands over the default object itself, and would keep these keys in it.
        options = dict(getattr(namespace, self.dest, None) or {})
        for pair in [values] if isinstance(values, str) else values or ():
            key, equals, text = pair.partition("=")
            if not equals:
                parser.error(
                    f"{option_string} {pair!r} must be KEY=VALUE → other words go before it."
                )
            try:
                options[key] = self._parse_iterable(text)
            except ValueError as error:
                parser.error(f"{option_string} {pair!r}: {error}")
        setattr(namespace, self.dest, options)


def _split(val: str) -> tuple[list[str] | None, str]:
    """Return the elements of a list or tuple and its bracket; None if ``val`` is a single value."""
    parts = _split_commas(val)
    # `(1),(2)` begins with a bracket and is a list all the same. MMEngine 0.10.7 recurses on it without end.
    opening = val[:1] if len(parts) < 2 and val[:1] in _PAIRS else ""
    if opening and val.endswith(_PAIRS[opening]):
        return _split_commas(val[1:-1]), opening
    return (parts, "") if len(parts) > 1 or val.endswith(",") else (None, "")


def _split_commas(val: str) -> list[str]:
    """Split at the commas outside brackets; a comma at the end adds nothing.

    Raises:
        ValueError: Brackets do not match.
    """
    parts, stack, start = [], [], 0
    for position, character in enumerate(val):
        if character in _PAIRS:
            stack.append(_PAIRS[character])
        elif stack and character == stack[-1]:
            stack.pop()
        elif character in ")]":
            raise ValueError(f"{character!r} closes nothing.")
        elif character == "," and not stack:
            parts.append(val[start:position])
            start = position + 1
    if stack:
        raise ValueError(f"a closing {stack[-1]!r} is missing.")
    return [*parts, val[start:]] if val[start:] else parts


def add_args(parser: ArgumentParser, cfg: dict, prefix: str = "") -> ArgumentParser:
    """Add one option per value of a config; nested keys are joined by dots."""
    for key, value in cfg.items():
        name = f"--{prefix}{key}"
        if isinstance(value, dict):
            add_args(parser, value, f"{prefix}{key}.")
        # Before int, the base class of bool: a flag takes no value.
        elif isinstance(value, bool):
            parser.add_argument(name, action="store_true")
        elif isinstance(value, (str, int, float)):
            parser.add_argument(name, type=type(value))
        # An empty list does not say what its elements are. MMEngine 0.10.7 fails on it with StopIteration.
        elif isinstance(value, Iterable) and (first := next(iter(value), None)) is not None:
            parser.add_argument(name, type=type(first), nargs="+")
    return parser
