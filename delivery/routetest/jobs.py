"""RQ entry point of route tests. Safe to run twice: each host is claimed."""

from delivery.routetest.runner import run_host
from delivery.services.route_tests import enqueue


def run(test_id: int, host: int) -> None:
    """Test one host, and leave the next one to another job."""
    following = run_host(test_id, host)
    if following is not None:
        enqueue(test_id, following)
