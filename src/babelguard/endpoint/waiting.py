"""When a request is sent again after a temporary failure. The threads of a client wait together."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from babelguard.endpoint.failures import Failure, RequestFailed

# Longest pause in seconds that an endpoint may ask for, if the client has no patience of its own.
_LONGEST_PAUSE = 120.0
# Longest pause between two attempts to reach an endpoint that is away.
_LONGEST_AWAY = 30.0
# A busy endpoint is reported after so many seconds, because short pauses are normal.
_REPORT_AFTER = 10.0


@dataclass(frozen=True)
class Retry:
    """When a request is sent again.

    Attributes:
        tries: Maximum number of times that a request is sent.
        pause: Seconds before the second time. The pause doubles each time, and is varied by a quarter.
        patience: Seconds without any answer that all requests together wait for an endpoint that cannot be reached or is too
            busy. Such failures do not count as tries. With 0 they do.
    """

    tries: int = 4
    pause: float = 1.0
    patience: float = 0.0


class Waiting:
    """The pauses of a client.

    Args:
        retry: When a request is sent again.
        host: Host and port, for messages.
        say: Called with a sentence when the endpoint is away, and when it is back.
    """

    def __init__(self, retry: Retry, host: str, say: Callable[[str], None]) -> None:
        self.retry, self.host, self._say = retry, host, say
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._quiet_until, self._said = 0.0, False
        self._away_since: float | None = None

    def close(self) -> None:
        """End all pauses. No request is sent any more."""
        self._closed.set()

    def before(self) -> None:
        """Wait as long as the endpoint asked for. All threads wait, because a rate limit applies to all requests.

        Raises:
            RequestFailed: If the client was closed.
        """
        while (left := self._quiet_until - time.monotonic()) > 0 and not self._closed.is_set():
            self._closed.wait(left)
        if self._closed.is_set():
            raise RequestFailed("stopped", temporary=True)

    def counts(self, failure: Failure) -> bool:
        """Whether a failure counts as one of the tries."""
        return not (failure.away and self.retry.patience > 0)

    def after(self, failure: Failure, why: str, sent: int) -> bool:
        """Pause after a failure. Returns False if the request must not be sent again.

        Args:
            failure: The failure.
            why: What went wrong, as it may be shown.
            sent: Number of times that the request was sent.
        """
        wanted, left, longest = failure.pause or 0.0, _LONGEST_PAUSE, _LONGEST_PAUSE
        if not self.counts(failure):
            left, longest = self._away(failure, why), _LONGEST_AWAY
        if left <= 0 or wanted > left:
            return False
        if wanted:
            with self._lock:
                self._quiet_until = max(self._quiet_until, time.monotonic() + wanted)
        # A random part, so that the threads do not return all at once.
        pause = min(self.retry.pause * 2.0 ** min(sent - 1, 30), longest) * random.uniform(0.75, 1.25)
        self._closed.wait(min(pause, left) if not self.counts(failure) else pause)
        return True

    def answered(self) -> None:
        """Note that the endpoint has answered a request."""
        with self._lock:
            said, self._away_since, self._said = self._said, None, False
        if said:
            self._say(f"{self.host} answers again.")

    def _away(self, failure: Failure, why: str) -> float:
        """Note that the endpoint is away, and return how many seconds are left to wait for it."""
        with self._lock:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            waited = now - self._away_since
            says = not self._said and (failure.unreachable or waited >= _REPORT_AFTER)
            self._said = self._said or says
        left = self.retry.patience - waited
        if says:
            self._say(f"{self.host} does not answer ({why}); waiting for it for up to {self.retry.patience:g} seconds.")
        return left
