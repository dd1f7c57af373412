"""The budget of unreadable records: a few may be left out, many are a damaged data set."""

from __future__ import annotations

from collections.abc import Sequence

from aigc_jax.data.files import visible
from aigc_jax.types import UsageError

MAX_BROKEN = 0.1
"""The share of unreadable records that may be left out, where the user names none."""

MAX_NAMED = 10
"""Broken records named in a message."""


def check_budget(kind: str, broken: Sequence[str], num: int, max_broken: float) -> None:
    """Raise UsageError where more than a share of ``num`` records is broken, or all are.

    >>> check_budget("images", ["3 (truncated)"], 10, 0.1)
    """
    if len(broken) <= max_broken * num and len(broken) < num:
        return
    raise UsageError(
        f"{len(broken)} of {num} {kind} cannot be read, more than --max-broken {max_broken:g} allows: {named(broken)}: "
        "replace the data, or allow more"
    )


def named(broken: Sequence[str]) -> str:
    """The first broken records, and the number of the others.

    >>> named([str(number) for number in range(12)])
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    more = f" and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
    return visible(", ".join(broken[:MAX_NAMED])) + more
