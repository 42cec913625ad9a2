"""A short run of the fuzzer; `python tests/fuzz/readers.py --minutes 10` runs longer."""

import pytest
from readers import fuzz


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(tmp_path):
    counts, failures = fuzz(20, keep=tmp_path / "failures")
    assert not failures
    # Both occur: the mutations do change files, and do not make all of them unreadable.
    assert {result for result, _ in counts} == {"OK", "REFUSED"}
    assert counts.total() > 200
