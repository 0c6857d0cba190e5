from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mm2pl.manager import ManagerMeta, ManagerMixin


class Board(ManagerMixin):
    def __init__(self, name: str = "", size: int = 8, wait: float = 0) -> None:
        super().__init__(name)
        time.sleep(wait)
        self.size = size


class Special(Board):
    pass


def test_instances_are_kept_by_class_and_name() -> None:
    chess = Board.get_instance("chess")
    assert Board.get_instance("chess") is chess
    go = Board.get_instance("go", size=19)
    assert go.size == 19
    assert Board.get_current_instance() is go
    assert Board.check_instance_created("chess")
    assert not Special.check_instance_created("chess")
    assert Special.get_instance("chess") is not chess
    assert chess.instance_name == "chess"


def test_a_forgotten_instance_is_made_anew() -> None:
    chess = Board.get_instance("chess")
    Board.forget_instance("chess")
    Board.forget_instance("never made")
    assert not Board.check_instance_created("chess")
    assert Board.get_instance("chess") is not chess


def test_there_must_be_one() -> None:
    with pytest.raises(RuntimeError, match=r"Before calling Board.get_current_instance\(\)"):
        Board.get_current_instance()


def test_arguments_for_one_there_is_already() -> None:
    Board.get_instance("chess")
    with pytest.warns(UserWarning, match=r"has been created.*\['size'\] are ignored"):
        Board.get_instance("chess", size=9)


@pytest.mark.parametrize("name", ["", 1, None])
def test_names_are_strings(name: Any) -> None:
    with pytest.raises(AssertionError, match="name argument must be an non-empty string"):
        Board(name)


def test_get_instance_takes_a_string() -> None:
    with pytest.raises(AssertionError, match="type of name should be str, but got 1"):
        Board.get_instance(1)  # type: ignore[arg-type]


def test_a_class_must_take_a_name() -> None:
    with pytest.raises(AssertionError, match="must have the name argument"):

        class Nameless(metaclass=ManagerMeta):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                raise NotImplementedError


def test_a_failed_constructor_leaves_the_lock_free() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        Board.get_instance("bad", nonsense=1)
    assert not Board.check_instance_created("bad")
    thread = threading.Thread(target=Board.get_instance, args=("good",))
    thread.start()
    thread.join(timeout=5)
    assert Board.check_instance_created("good")


def test_threads_get_the_same_instance() -> None:
    got: list[Board] = []

    def get() -> None:
        got.append(Board.get_instance("one", wait=0.02))

    first = threading.Thread(target=get)
    first.start()
    get_later = [threading.Thread(target=lambda: got.append(Board.get_instance("one")))]
    time.sleep(0.005)
    for thread in get_later:
        thread.start()
    for thread in [first, *get_later]:
        thread.join()
    assert got[0] is got[1]
