"""When to try again after a connection was lost, and when a person is told. Pure.

    nobody answers      a pause that doubles up to 16 times the first; never given up, except on an
                        address that never answered, which is more likely wrong than down
    401, 403            the login: much longer pauses, cut short by another login in its store
    429                 too many connections: the longest pauses, never less than the server asks
    outside hours       few attempts, the last of them in time for the next session
    lost when healthy   the first attempt is made at once

Pauses are spread by chance, so that not all who lost the same server come back in one moment. The
chance is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why an attempt to connect failed, as far as the next pause goes."""

    NETWORK = "network"
    LOGIN = "login"
    CROWDED = "crowded"


_DOUBLINGS_MAX = 4
_DELAYS = {Failure.NETWORK: 1, Failure.LOGIN: 20, Failure.CROWDED: 60}
_DELAYS_OUTSIDE_HOURS = 600
REASONS_MAX = 10  # of one outage; a reason may contain anything
ASKED_NS_MAX = 600 * 1_000_000_000  # a server that asks for more does not know what it says


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """Pauses, counted in delays of ``delay_ns``."""

    delay_ns: int
    healthy_ns: int  # a connection that lived this long is whole again
    connect_attempts_max: int  # at an address that never answered

    def pause_ns(
        self,
        failure: Failure,
        failures: int,
        *,
        opens_in_ns: int,
        chance: float,
        asked_ns: int = 0,
    ) -> int:
        """Return how long to wait after ``failures`` failures in a row, at least one.

        ``opens_in_ns`` is the time to the next session, 0 within one; ``chance`` is evenly spread
        over 0 to 1; ``asked_ns`` is what the server asked for.
        """
        assert failures > 0, "without a failure nobody waits"
        longest_ns = self.delay_ns * _DELAYS[failure] * 2 ** min(failures - 1, _DOUBLINGS_MAX)
        if opens_in_ns:
            longest_ns = max(longest_ns, min(opens_in_ns, self.delay_ns * _DELAYS_OUTSIDE_HOURS))
        return max(int(longest_ns * (1 + chance) / 2), min(asked_ns, ASKED_NS_MAX))


class Outage:
    """The outages of one connection: from a loss until a connection is healthy again.

    Times are CLOCK_MONOTONIC. Whoever connects tells what came of it, and asks when to try again
    and what to say.
    """

    def __init__(self, policy: ReconnectPolicy, *, ever_connected: bool) -> None:
        """Say with ``ever_connected`` that the address is known to be right."""
        self._policy = policy
        self.ever_connected = ever_connected
        self.failures = 0  # in a row, a connection that was lost before it was healthy among them
        self.retry_at_ns = 0
        self._since_ns = self._connected_ns = 0  # 0 = there is none
        self.alarmed = False
        self._told: set[str] = set()

    def connected(self, now_ns: int) -> None:
        self.ever_connected = True
        self._connected_ns = now_ns

    def healed(self, now_ns: int) -> int | None:
        """Return how long the outage was, ns, once: when the connection has become healthy."""
        if not self._is_healthy(now_ns):
            return None
        self.failures = 0
        if not self._since_ns:
            return None
        lasted_ns = self._connected_ns - self._since_ns
        self._since_ns, self.alarmed = 0, False
        self._told.clear()
        return lasted_ns

    def _is_healthy(self, now_ns: int) -> bool:
        lived_ns = now_ns - self._connected_ns
        return bool(self._connected_ns) and lived_ns >= self._policy.healthy_ns

    def lost(self, now_ns: int, *, opens_in_ns: int, chance: float) -> None:
        """Note the loss of the connection; a healthy one is tried again at once."""
        was_healthy = self._is_healthy(now_ns)
        self._connected_ns = 0
        if was_healthy:
            self._since_ns = self._since_ns or now_ns
            self.failures, self.retry_at_ns = 0, now_ns
        else:
            self.failed(Failure.NETWORK, now_ns, opens_in_ns=opens_in_ns, chance=chance)

    def failed(
        self, failure: Failure, now_ns: int, *, opens_in_ns: int, chance: float, asked_ns: int = 0
    ) -> int | None:
        """Note a failed attempt; return the pause before the next one, None to give up."""
        self._since_ns = self._since_ns or now_ns
        self.failures += 1
        never_answered = failure is Failure.NETWORK and not self.ever_connected
        if never_answered and self.failures >= self._policy.connect_attempts_max:
            return None
        pause_ns = self._policy.pause_ns(
            failure, self.failures, opens_in_ns=opens_in_ns, chance=chance, asked_ns=asked_ns
        )
        self.retry_at_ns = now_ns + pause_ns
        return pause_ns

    def alarm(self, *, in_session: bool) -> bool:
        """Tell whether to alarm a person now: once in an outage, and not outside hours."""
        due = in_session and not self.alarmed and bool(self._since_ns)
        self.alarmed |= due
        return due

    @property
    def was_told(self) -> bool:
        """True when some reason of this outage was told."""
        return bool(self._told)

    def is_news(self, why: str) -> bool:
        """Tell whether ``why`` was not told yet in this outage, and may be."""
        news = why not in self._told and len(self._told) < REASONS_MAX
        if news:
            self._told.add(why)
        return news
