"""The suite itself: tests that share compilations run in one process."""

import pytest


def test_suite_runs_a_group_in_one_process(request):
    """Silently lost between versions of pytest and xdist, it costs a fifth more: each process compiles everything."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("not spread over processes by --dist loadgroup")
    assert request.node.nodeid.endswith("@tests/test_suite.py")
