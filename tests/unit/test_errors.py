"""The exception tree is the one its docstring draws; a message has one form."""

from __future__ import annotations

import re

import pytest

from pipeline import errors
from pipeline.errors import TickpipeError, explain


def drawn_tree() -> dict[str, str]:
    """Return child -> parent as the module's docstring draws it."""
    assert errors.__doc__
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+)\b", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            if depth:
                parents[found[2]] = path[depth - 1]
    return parents


def classes(root: type[TickpipeError] = TickpipeError) -> list[type[TickpipeError]]:
    below = [cls for child in root.__subclasses__() for cls in classes(child)]
    return [root, *(cls for cls in below if cls.__module__ == "pipeline.errors")]


def test_the_tree_is_the_one_that_is_drawn() -> None:
    actual = {cls.__name__: cls.__bases__[0].__name__ for cls in classes()[1:]}
    assert drawn_tree() == actual


def test_the_drawing_was_read_and_not_skipped() -> None:
    assert drawn_tree()["SegmentRefused"] == "ChannelError"


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_one_except_clause_catches_every_error_of_the_product(cls: type[TickpipeError]) -> None:
    with pytest.raises(TickpipeError, match="7 < 8"):
        raise cls("7 < 8")


def test_a_programming_error_is_not_one_of_them() -> None:
    assert not issubclass(AssertionError, TickpipeError)
    assert TickpipeError.__bases__ == (Exception,)


def test_a_message_says_what_happened_then_the_rule_then_the_cure() -> None:
    message = explain("read 5 bytes", rule="a frame has 51", cure="update the decoder")
    assert message == "read 5 bytes\n  rule: a frame has 51\n  cure: update the decoder"
