"""Compare the output that a page shows with the output that was printed."""

from __future__ import annotations

import re

#: What differs from machine to machine, and from run to run; in this order.
_MASKS = [
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d"), "DATE"),
    (re.compile(r"\b\d{8}_\d{6}\b"), "DATE"),
    (re.compile(r"\b(?:\d+ days?, )?\d+:\d\d(?::\d\d)?\b"), "TIME"),
    (re.compile(r"\b(?:\d+m)?\d+(?:\.\d+)?\s?(?:ms|s|m|it/s|[KMG]iB|[kM]B)\b"), "SIZE"),
    (re.compile(r"[-+]?\d+\.\d+(?:e[-+]\d+)?|\b\d+e[-+]\d+\b"), "NUMBER"),
    (re.compile(r"-[0-9a-f]{8}\b"), "-HASH"),
    (re.compile(r"(?<![\w.])/(?:[\w.@+-]+/)*"), "PATH/"),
    (re.compile("[▁▂▃▄▅▆▇█][▁▂▃▄▅▆▇█ ]*"), "BAR "),
    (re.compile(r"[ \t]+"), " "),
]

#: A line with a score or a speed.
_MEASURED = re.compile(r"accuracy|it/s|\(val\)|of SIZE")

#: What a score or a speed is where it has no decimals; not a part of a date, of ``[15]`` or of ``10/12``.
_WHOLE = re.compile(r"(?<![\w/.\[])\d{2,}(?![\w/.\]])")

#: What stands before each line of a run's log; a page may leave it out.
_LOGGED = re.compile(r"\d\d/\d\d TIME - mmengine - \w+ - ")


def masked(text: str) -> list[str]:
    """Return the lines with what may differ replaced by one word."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [_WHOLE.sub("NUMBER", x) if _MEASURED.search(x) else x for x in lines]


def difference(shown: str, printed: str) -> str | None:
    """Return the first shown line that was not printed in its place, else the first one too many, else ``None``.

    A line ``…`` in the page stands for any number of lines, ``…`` within a line for any text in it. Without
    such a line at the beginning or end the page shows all that was printed.
    """
    lines, expected = masked(printed), masked(shown)
    plain = [_LOGGED.sub("", line, count=1) for line in lines]
    place, free = 0, False
    for line in expected:
        if line == "…":
            free = True
            continue
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        ahead = range(place, len(lines)) if free else range(place, min(place + 1, len(lines)))
        found = next(
            (n for n in ahead if pattern.fullmatch(lines[n]) or pattern.fullmatch(plain[n])), None
        )
        if found is None:
            return line
        place, free = found + 1, False
    return lines[place] if place < len(lines) and not free else None
