from __future__ import annotations

import traceback

import pytest

from mm2pl.errors import ArgumentError, ReadableKeyError, add_note, refused_values


def test_messages_print_as_written() -> None:
    assert str(ReadableKeyError("a 'b' c")) == "a 'b' c"
    assert str(KeyError("a 'b' c")) == "\"a 'b' c\""
    with pytest.raises(KeyError, match=r"^a 'b' c$"):
        raise ReadableKeyError("a 'b' c")


@pytest.mark.parametrize("kind", [AssertionError, TypeError, ValueError])
def test_every_handler_sees_a_wrong_argument(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="wrong"):
        raise ArgumentError("wrong")


class OldError(Exception):
    """As exceptions are before Python 3.11."""

    add_note = property()  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [ValueError, OldError])
def test_notes_are_printed(kind: type[Exception]) -> None:
    error = kind("first")
    add_note(error, "second")
    assert "".join(traceback.format_exception_only(error)).endswith("first\nsecond\n")


def test_what_another_library_says_of_a_configs_values() -> None:
    with (
        pytest.raises(ArgumentError, match=r"^x=dict\(a=1\) → no such a$"),
        refused_values("x=dict(a=1)"),
    ):
        raise ValueError("no such a")
    with pytest.raises(KeyError, match="own"), refused_values("x"):
        raise KeyError("own")
