from __future__ import annotations

from pipeline.strategy.rehearsal import Rehearsal
from tests.money import two_instruments


def test_every_rehearsal_hands_over_a_tick_and_none_to_the_users_class() -> None:
    settings = two_instruments()
    nowhere = settings.strategy.model_copy(update={"use": "no.such.module:Nobody"})
    rehearsal = Rehearsal(settings.model_copy(update={"strategy": nowhere}))
    for _ in range(100):
        rehearsal()
    assert rehearsal.ticks == 100
