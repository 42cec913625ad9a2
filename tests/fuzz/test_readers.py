"""A short run of the fuzzer; `python tests/fuzz/readers.py --minutes 10` is a long one."""

import pytest
from readers import fuzz


@pytest.mark.slow
def test_broken_files_are_read_or_refused(tmp_path):
    counts, problems = fuzz(20, keep=tmp_path / "problems")
    assert not problems
    kinds = {kind for kind, _ in counts}
    assert kinds == {"OK", "REFUSED"}  # it breaks files, and does not break all of each
    assert counts.total() > 200
