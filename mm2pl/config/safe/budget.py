"""What a config from a stranger may cost, and what its values may be."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config_dict import ConfigDict
from ..errors import ConfigSafetyError
from ..lazy import LAZY_TYPES

NUMBERS = (bool, int, float, complex)
# Python prints integers in quadratic time.
MAX_BITS = 4096
_LEAVES = frozenset(
    # The dates are there for YAML, where 2024-01-01 is one.
    {*NUMBERS, str, bytes, type(None), type(Ellipsis), range, slice, datetime.date}
    | {datetime.datetime, *LAZY_TYPES}
)
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_DICTS = frozenset({dict, ConfigDict})


def range_length(value: range) -> int:
    """Return how many numbers a range has; ``len`` raises OverflowError from 2**63 on."""
    # Rounded up, as the last step may be a short one.
    return max(0, -((value.start - value.stop) // value.step))


@dataclass(kw_only=True)
class Budget:
    """Count down what a config and all its bases spend; the largest of 4,300 released configs takes 6 % of it.

    Attributes:
        operations: Syntax nodes evaluated, elements compared, hashed or walked over.
        size: Elements and characters created.
        depth: Nested expressions, blocks or containers.
        files: Files read.
        characters: Length of all files together.
    """

    operations: int = 300_000
    size: int = 500_000
    depth: int = 100
    files: int = 100
    characters: int = 300_000

    def spend(self, operations: int) -> None:
        """Pay for work.

        Raises:
            ConfigSafetyError: The operations are used up.
        """
        self.operations -= operations
        if self.operations < 0:
            raise ConfigSafetyError("The config takes too many operations to be read safely.")

    def create(self, elements: int) -> None:
        """Pay for elements or characters, before they are made.

        Raises:
            ConfigSafetyError: The memory is used up.
        """
        # `[0] * -5` makes nothing. A negative price would give the config new room.
        self.size -= max(elements, 0)
        if self.size < 0:
            raise ConfigSafetyError("The config's values are too large to be read safely.")

    def read(self, characters: int) -> None:
        """Pay for one more file.

        Raises:
            ConfigSafetyError: The files are too large together.
        """
        self.files -= 1
        self.characters -= characters
        if self.files < 0 or self.characters < 0:
            raise ConfigSafetyError("The config and its bases are too large to be read safely.")

    def check_depth(self, depth: int) -> None:
        """Refuse what is nested deeper than allowed.

        Raises:
            ConfigSafetyError: The nesting is too deep.
        """
        if depth > self.depth:
            raise ConfigSafetyError(
                f"The config is nested deeper than {self.depth} levels, too deep to be read safely."
            )

    def walk(self, value: Any, depth: int = 0, as_text: bool = False) -> None:
        """Pay for every element that a copy, comparison or hash of ``value`` would visit.

        A container that occurs in several places counts in each: that is what those would cost.
        ``as_text`` also pays for the characters of printing it.

        Raises:
            ConfigSafetyError: It is too large, too deep, contains itself, or is not plain data.
        """
        kind = type(value)
        self.spend(1)
        if kind in _LEAVES:
            if kind is int:
                self.check_bits(value.bit_length())
            # `x in range(10**9)` goes through all of it unless x is an int.
            elif kind is range:
                self.spend(range_length(value))
            if as_text:
                self.create(len(value) if kind in (str, bytes) else 20)
            return
        self.check_depth(depth)
        if kind in _DICTS:
            for key, item in dict.items(value):
                self.walk(key, depth + 1, as_text)
                self.walk(item, depth + 1, as_text)
        elif kind in _SEQUENCES:
            for item in value:
                self.walk(item, depth + 1, as_text)
        else:
            raise ConfigSafetyError(
                f"{value!r:.80} of type {kind.__name__} is not plain data. With safe=True a config "
                "consists of numbers, strings, None, lists, tuples, sets and dicts."
            )

    def hash_keys(self, keys: Iterable, present: int = 0) -> None:
        """Pay for putting keys into a dict or set that holds ``present`` others.

        Only strings are hashed with a secret, so other keys may be chosen to collide and are
        charged for it.
        """
        others = [key for key in keys if type(key) is not str]
        for key in others:
            self.walk(key)
        self.spend(len(others) * (present + len(others)) // 64)

    def check_bits(self, bits: int) -> None:
        """Refuse integers that are slow to compute with or to print.

        Raises:
            ConfigSafetyError: The integer is too large.
        """
        if bits > MAX_BITS:
            raise ConfigSafetyError(f"An integer of {bits} bits is too large to be read safely.")
