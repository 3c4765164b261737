"""Settings of the whole suite."""

import os

import pytest

# Here and in the processes that tests start: on tensors this small a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _watched(request):
    """Has every refusal that a test provokes compare the test's folder before and after."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    from tests.support import refusals

    refusals.WATCHED.append(request.getfixturevalue("tmp_path"))
    yield
    refusals.WATCHED.pop()


def pytest_sessionfinish():
    from tests.support import forked

    forked.end()


def pytest_terminal_summary(terminalreporter):
    from tests.support import refusals

    if refusals.COMPARED:
        terminalreporter.write_line(f"{refusals.COMPARED} refusals left every file and folder as it was")


@pytest.fixture(params=["rgb32", "gray28"])
def golden_set(request):
    return request.param
