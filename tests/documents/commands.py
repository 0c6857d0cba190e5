"""The reference of the command line, from the commands' own parsers: ``python -m tests.documents.commands``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from unittest import mock

from mm2pl.cli.main import COMMANDS, main

WORDS = {"plot": [("plot", "schedule"), ("plot", "log")]}
"""Commands of commands."""


def parser_of(*words: str) -> argparse.ArgumentParser | None:
    """Return the parser that answers ``mm2pl WORDS --help``, if one does."""
    found: list[argparse.ArgumentParser] = []
    with (
        mock.patch.object(argparse.ArgumentParser, "print_help", lambda self: found.append(self)),
        mock.patch("builtins.print"),
        suppress(SystemExit),
    ):
        main([*words, "--help"])
    return found[0] if found else None


def options(parser: argparse.ArgumentParser | None) -> Iterator[tuple[str, str]]:
    """Yield each argument with its values, and what it does."""
    for action in parser._actions if parser else ():
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        name = ", ".join(action.option_strings)
        values = ",".join(map(str, action.choices)) if action.choices else None
        value = f"{{{values}}}" if values else str(action.metavar or action.dest.upper())
        if action.nargs == "?" and name:
            value = f"[{value}]"
        words = [name, "" if name and action.nargs == 0 else value]
        yield " ".join(filter(None, words)), " ".join((action.help or "").split())


def reference() -> str:
    """Return a section per command; the options of ``fit`` are listed there only."""
    fit = dict(options(parser_of("fit")))
    lines = []
    for command, (_, meaning) in COMMANDS.items():
        lines += ["", f"### mm2pl {command}", "", f"{meaning[0].upper()}{meaning[1:]}."]
        for words in WORDS.get(command, [(command,)]):
            rows = [r for r in options(parser_of(*words)) if command == "fit" or r[0] not in fit]
            head = "argument" if len(words) == 1 else f"`{' '.join(words)}`"
            cells = [(f"`{name}`", text) for name, text in rows]
            table = [(head, "what it does"), ("---", "---"), *cells] if cells else []
            lines += ["", *(f"| {a} | {b} |" for a, b in _escaped(table))] if table else []
    return "\n".join(lines[1:])


def _escaped(rows: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, text in rows:
        yield name.replace("|", r"\|"), text.replace("|", r"\|")


if __name__ == "__main__":
    print(reference())
