"""What the results of a container's checks say, and when each is asked next: pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...wire.graph import Check, Container, Health
from .state import Node, Probed

# Until it has passed for the first time a check is asked after so long, then twice as long, and so on.
EAGER_S = 0.05
_MOST_DOUBLINGS = 16


def is_failing(check: Check, probed: Probed) -> bool:
    """It has failed as often as is too often."""
    return probed.failures >= check.failure_threshold


def health_of(wanted: Container, node: Node) -> Health:
    """Of a container that runs."""
    results = [(check, node.probed.get(check.name, Probed())) for check in wanted.checks]
    if not results:
        return "none"
    if any(is_failing(check, probed) for check, probed in results):
        return "unhealthy"
    return "healthy" if all(probed.passed for _, probed in results) else "starting"


def failing(wanted: Container, node: Node) -> Sequence[Check]:
    """The checks because of which it is unhealthy."""
    return [check for check in wanted.checks if is_failing(check, node.probed.get(check.name, Probed()))]


def next_probe(check: Check, probed: Probed, started: float) -> float:
    """When it is asked next."""
    if probed.last is None:
        return started
    if probed.passed or probed.failures:
        return probed.last + check.interval_s
    return probed.last + min(check.interval_s, EAGER_S * 2.0 ** min(probed.tries, _MOST_DOUBLINGS))
