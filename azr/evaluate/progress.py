"""The line that says what the engine is doing: on a terminal it changes in place, in a log there is a new one
at most every half minute."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from azr.report.text import duration

LOG_EVERY_S = 30.0
TERMINAL_EVERY_S = 0.5
RATE_WINDOW_S = 30.0


@dataclass
class Tally:
    """Where a session stands. Tokens are those of answers, finished or not, of this session."""

    wanted: int
    """Answers that this session has to write."""
    done: int = 0
    done_tokens: int = 0
    """Of the finished answers."""
    tokens: int = 0
    """Of all answers, those being written included."""
    most_tokens: int = 0
    """What all wanted answers could have at most, together."""
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now_s: float, tokens: int) -> None:
        """``tokens`` have been written by ``now_s``."""
        self.tokens = tokens
        self._seen.append((now_s, tokens))
        while now_s - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()

    def paused(self) -> None:
        """Nothing is written for a while (another model is loaded); the rate is measured afresh afterwards."""
        self._seen.clear()

    @property
    def rate(self) -> float | None:
        """Tokens a second of late; None before there are two looks."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        (start_s, start), (end_s, end) = self._seen[0], self._seen[-1]
        return (end - start) / (end_s - start_s)

    def time_left(self) -> str:
        """From the mean length of the finished answers; from the most that the answers may have before there is
        one, and where those being written are longer already: the short ones are finished first."""
        if not self.rate or self.done >= self.wanted:
            return ""
        in_flight = self.tokens - self.done_tokens
        expected = (self.wanted - self.done) * self.done_tokens / self.done - in_flight if self.done else 0.0
        if expected > 0:
            return f"about {duration(expected / self.rate)} left"
        most = self.most_tokens * (self.wanted - self.done) / self.wanted - in_flight
        return f"at most {duration(max(0.0, most) / self.rate)} left"

    def words(self) -> str:
        parts = [f"{self.done:,} of {self.wanted:,} answers"]
        if self.rate is not None:
            parts.append(f"{self.rate:,.0f} tokens/s")
        return ", ".join([*parts, *filter(None, [self.time_left()])])


class ProgressLine:
    """Shows texts. A terminal's line is replaced; in a log, a text within ``LOG_EVERY_S`` of the one before
    is left out."""

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ) -> None:
        self.stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self.stream.isatty() if terminal is None else terminal
        self._shown_s: float | None = None
        self._shown = ""

    def show(self, text: str, *, last: bool = False) -> None:
        """
        Args:
            last: always shown, and stays.
        """
        now_s = self._clock()
        every_s = TERMINAL_EVERY_S if self._terminal else LOG_EVERY_S
        due = self._shown_s is None or now_s - self._shown_s >= every_s
        if not (due or last) or (not self._terminal and text == self._shown):
            return
        self._shown_s, self._shown = now_s, text
        if self._terminal:
            width = shutil.get_terminal_size().columns
            self.stream.write(f"\r\x1b[K{text[: width - 1]}" + ("\n" if last else ""))
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    def clear(self) -> None:
        """Makes place for another line, such as an error."""
        if self._terminal and self._shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        self._shown = ""
