"""Settings of the whole suite."""

import os

import pytest

# Here and in the processes that tests start: on tensors this small a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(params=["rgb32", "gray28"])
def golden_set(request):
    return request.param
