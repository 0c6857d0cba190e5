"""What `resume` may be."""

from __future__ import annotations

import pytest

from mm2pl.plan.resume import Choice, Resume, resume_of, with_parts
from mm2pl.plan.translate import translate
from tests.plan.rows import problems

TABLE = {
    "nothing": (None, Resume()),
    "no": (False, Resume()),
    "yes": (True, Resume(wanted=True)),
    "must": ("must", Resume(wanted=True, required=True)),
    "as a number": (1, Resume(wanted=True)),
    "a dict": (
        {"filename": "x.pth", "must": True, "resume_param_scheduler": "replan"},
        Resume(
            wanted=True,
            required=True,
            filename="x.pth",
            choice=Choice(resume_param_scheduler="replan"),
        ),
    ),
}


@pytest.mark.parametrize(("value", "expected"), TABLE.values(), ids=TABLE)
def test_values(value, expected):
    assert resume_of(value) == expected


@pytest.mark.parametrize("value", ["work_dirs/a/epoch_1.pth", "True", "", 2, 0.5, ["must"], {}])
def test_anything_else_is_refused_before_a_run(value):
    with pytest.raises(ValueError, match=r"resume=.* → True, False, 'must' or .*load_from=PATH"):
        translate({"model": {"type": "M"}, "resume": value})


REFUSED = {
    "an unknown key": (
        {"file": "x"},
        "resume has file → it takes filename, must, resume_optimizer",
    ),
    "another plan": ({"resume_param_scheduler": "file"}, "='file' → one of True, False, 'replan'"),
    "no truth value": ({"resume_optimizer": "no"}, "='no' → one of True, False is needed"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_a_dict_of_something_else_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        resume_of(value)


def test_must_is_known():
    assert translate({"model": {"type": "M"}, "resume": "must"}).run["resume"] == "must"
    assert problems({"resume": "must"}) == []


def test_only_what_is_chosen_is_an_argument_of_resume():
    assert Choice().arguments() == {}
    assert Choice(resume_optimizer=False).arguments() == {"resume_optimizer": False}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, {"a": 1}),
        ("must", {"must": True, "a": 1}),
        ({"filename": "x"}, {"filename": "x", "a": 1}),
    ],
    ids=str,
)
def test_parts_are_added_to_any_value(value, expected):
    assert with_parts(value, {"a": 1}) == expected
