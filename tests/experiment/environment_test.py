"""What a run needs of the machine."""

import jax
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.experiment import environment


def test_one_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(UsageError, match=r"one of 4 JAX processes.*not supported yet"):
        environment.prepare()
