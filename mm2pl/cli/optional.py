"""Options whose value may be left out, on a command line of folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def with_default(
    arguments: Sequence[str], option: str, default: str, is_value: Callable[[str], bool]
) -> list[str]:
    """Write the default of an option next to it where the word after it is not a value.

    argparse gives such an option the next word, though that is a folder.

    >>> with_default(["--watch", "work_dirs/a"], "--watch", "5", str.isdigit)
    ['--watch=5', 'work_dirs/a']
    >>> with_default(["work_dirs/a", "--watch", "2"], "--watch", "5", str.isdigit)
    ['work_dirs/a', '--watch', '2']
    >>> with_default([], "--watch", "5", str.isdigit)
    []
    """
    following = [*arguments, ""][1:]
    return [
        f"{option}={default}" if word == option and not is_value(after) else word
        for word, after in zip(arguments, following, strict=True)
    ]
