"""The fuzz in small, and decoders with a fault: each must be found."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.brokers.kite import wire as kite_wire
from pipeline.brokers.smartapi import wire as smart_wire
from tests.stress.fuzz import SUBJECTS, Found, Kite, SmartApi, Subject, add_arguments, fuzz, main

pytestmark = pytest.mark.stress

FRAMES = 20_000


@pytest.mark.parametrize("name", [*SUBJECTS])
def test_every_bent_frame_is_accounted_for(name: str) -> None:
    outcome = fuzz(SUBJECTS[name](), FRAMES, random.Random(7))
    assert outcome.frames == FRAMES
    assert outcome.ticks > FRAMES / 10
    assert outcome.refused > FRAMES / 10
    assert outcome.skipped > FRAMES


def raises(data: bytes, *rest: Any, **more: Any) -> Any:
    if len(data) == 77:
        raise IndexError("77")
    return kite_wire.decode(data, *rest, **more)


def forgets_a_byte(data: bytes, *rest: Any, **more: Any) -> Any:
    found = kite_wire.decode(data, *rest, **more)
    return found._replace(skipped=found.skipped - (found.skipped > 100))


def loses_a_refusal(data: bytes, *rest: Any, **more: Any) -> Any:
    found = kite_wire.decode(data, *rest, **more)
    return found._replace(refused=found.refused - (found.refused > 2))


def takes_a_wrong_price(data: bytes, *rest: Any, **more: Any) -> Any:
    found = kite_wire.decode(data, *rest, **more)
    if found.refused:
        found.ticks["price_e4"] += 1
    return found


class Remembering:
    """A decoder that a broken frame puts out of step for the next one."""

    def __init__(self) -> None:
        self._broken = False

    def __call__(self, data: bytes, *rest: Any, **more: Any) -> Any:
        found = smart_wire.decode(data, *rest, **more)
        was_broken, self._broken = self._broken, found is None
        return None if was_broken else found


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (lambda: Kite(raises), "it raises IndexError"),
        (lambda: Kite(forgets_a_byte), "by hand"),
        (lambda: Kite(loses_a_refusal), "by hand"),
        (lambda: Kite(takes_a_wrong_price), "by hand"),
        (lambda: SmartApi(Remembering()), "the next true frame decodes differently"),
    ],
)
def test_a_decoder_with_a_fault_is_found(subject: Callable[[], Subject], said: str) -> None:
    with pytest.raises(Found, match=said):
        fuzz(subject(), FRAMES, random.Random(7))


def test_the_same_seed_bends_the_same_frames(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    told = []
    for _ in range(2):
        main(parser.parse_args(["--frames", "2000", "--seed", "3"]))
        lines = capsys.readouterr().out.splitlines()
        told.append([line.rpartition(",")[0] for line in lines])
    assert told[0] == told[1]
    assert len(told[0]) == 3
