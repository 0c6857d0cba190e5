"""What Lightning refuses is one message and a mistake of the user's, whatever class Lightning raises."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback

from mm2pl.errors import UserError
from tests.lightning.test_cut_short import EPOCHS, NEVER, scenario, stopped

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"val_check_interval": 100}, r"^`val_check_interval` \(100\) must be less than"),
        ({"gradient_clip_val": "1"}, "the Trainer refuses its options: `gradient_clip_val`"),
        ({"max_time": "soon"}, "the Trainer refuses its options: `Timer"),
        ({"val_check_interval": 0}, r"val_check_interval=0\) → more than 0 → limit_val"),
        ({"check_val_every_n_epoch": 0}, r"check_val_every_n_epoch=0\) → more than 0"),
        ({"accumulate_grad_batches": 0}, r"accumulate_grad_batches=0\) → more than 0 → 1"),
    ],
    ids=str,
)
def test_a_flag_that_cannot_be_followed(tmp_path, flags, message):
    made = scenario(EPOCHS, NEVER)
    with pytest.raises(UserError, match=message) as error:
        stopped(made, tmp_path, **flags)
    assert isinstance(error.value, TypeError)
    assert isinstance(error.value, ValueError)


class Fails(Callback):
    """A user's own mistake."""

    def __init__(self, how: Any) -> None:
        self.how = how

    def on_train_start(self, *args: Any) -> None:
        self.how()


def wrong_value() -> None:
    raise ValueError("of the user's")


@pytest.mark.parametrize("how", [wrong_value, lambda: None + 1], ids=["value", "type"])
def test_a_failure_in_code_of_the_users_stays_as_it_is(tmp_path, how):
    with pytest.raises(
        (ValueError, TypeError), match=r"of the user's|unsupported operand"
    ) as error:
        stopped(scenario(EPOCHS, NEVER), tmp_path, callbacks=[Fails(how)])
    assert not isinstance(error.value, UserError)


def test_what_python_raises_in_lightnings_code_stays_as_it_is(tmp_path):
    def breaks(trainer: Any = None) -> None:
        callback.trainer.fit_loop.epoch_loop.max_steps = "two"

    callback = Fails(breaks)
    callback.setup = lambda trainer, *args, **kwargs: setattr(callback, "trainer", trainer)  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="'>=' not supported") as error:
        stopped(scenario(EPOCHS, NEVER), tmp_path, callbacks=[callback])
    assert not isinstance(error.value, UserError)


def test_a_time_between_validations(tmp_path):
    runner, book = stopped(scenario(EPOCHS, NEVER), tmp_path, val_check_interval="00:00:00:00")
    assert runner.iter == 27
    assert len(book["validated_at"]) == 27
