from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from mm2pl.lightning.executor import told_of_accumulation


class Wrapper:
    """An optimizer wrapper of a user's own, whose context takes more than MMEngine's."""

    def __init__(self, *, adds: bool) -> None:
        self._adds = adds
        self.seen: list[Any] = []

    def should_sync(self) -> bool:
        return not self._adds

    @contextmanager
    def optim_context(self, model: str, amp: bool = True) -> Any:
        self.seen.append((model, amp))
        yield


@pytest.mark.parametrize("adds", [False, True])
def test_a_context_is_given_what_it_takes(adds: bool) -> None:
    wrapper, held = Wrapper(adds=adds), []
    with (
        told_of_accumulation(wrapper, lambda: held.append(1) or nullcontext()),
        wrapper.optim_context(model="a"),
        wrapper.optim_context("b", amp=False),
    ):
        pass
    assert wrapper.seen == [("a", True), ("b", False)]
    assert len(held) == (2 if adds else 0)


@pytest.mark.parametrize("own", [False, True])
def test_what_was_set_on_a_wrapper_is_there_afterwards(own: bool) -> None:
    wrapper = Wrapper(adds=False)
    if own:
        wrapper.optim_context = wrapper.optim_context  # type: ignore[method-assign]
    before = {**vars(wrapper)}
    with told_of_accumulation(wrapper, nullcontext):
        assert vars(wrapper) != before
    assert vars(wrapper) == before
