"""Time windows relative to a cutoff time: the past, a trailing window, the next window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Window:
    """The rows with `t + after < time <= t + until` around a cutoff time t.

    `after` None means from the beginning. Both ends are as in RelBench: a row exactly at the
    cutoff belongs to its past, a row exactly at `t + until` to the window.
    """

    after: timedelta | None = None
    until: timedelta = ZERO

    def __post_init__(self) -> None:
        if self.after is not None and self.after >= self.until:
            raise ValueError(f"a window must end after it begins: {self.after} .. {self.until}")

    @property
    def is_past(self) -> bool:
        """Whether the window shows nothing after the cutoff."""
        return self.until <= ZERO

    @property
    def length(self) -> timedelta | None:
        """The window's length, None for the whole past."""
        return None if self.after is None else self.until - self.after

    def __str__(self) -> str:
        """`30 days` (trailing), `next 30 days`, or from .. to for any other."""
        if self.after is None:
            return "" if self.until == ZERO else f"until {_text(self.until)}"
        if self.until == ZERO:
            return _text(-self.after)
        if self.after == ZERO:
            return f"next {_text(self.until)}"
        return f"{_text(self.after)} to {_text(self.until)}"


PAST = Window()


def trailing(length: timedelta) -> Window:
    """The window `(t - length, t]`."""
    return Window(-length, ZERO)


def following(length: timedelta) -> Window:
    """The window `(t, t + length]`."""
    return Window(ZERO, length)


def _text(duration: timedelta) -> str:
    for unit in ("days", "hours"):
        if duration % timedelta(**{unit: 1}) == ZERO:
            return f"{duration // timedelta(**{unit: 1})} {unit}"
    return f"{duration.total_seconds():g} seconds"
