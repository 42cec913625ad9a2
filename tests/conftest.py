from collections import Counter

import numpy as np
import pytest


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run, and differ from test to test."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def pytest_terminal_summary(terminalreporter):
    """Prints the share of the conformance cases that each algorithm takes."""
    counts = Counter(
        tuple(value.split())
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "setup" or getattr(report, "when", None) == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == "share"
    )
    for algorithm in dict.fromkeys(name for name, _ in counts):
        taken, refused = counts[algorithm, "takes"], counts[algorithm, "refuses"]
        terminalreporter.write_line(
            f"{algorithm:<20} takes {taken:>5} of {taken + refused:>5} cases"
            f" ({taken / (taken + refused):.0%})"
        )
