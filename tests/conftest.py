"""Settings of the whole suite."""

import os
import sys

import pytest

# Here and in the processes that tests start: on tensors this small a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before torch is imported anywhere, and for the processes that tests start.
GPU = os.environ.get("CMIDD_GPU") == "1"
if not GPU:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if sys.platform == "darwin":
        import tests.support.no_gpu  # noqa: F401


def pytest_sessionstart():
    from tests.support import compositions

    compositions.keep()


def pytest_collection_modifyitems(items):
    on_a_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_a_gpu and not (GPU and _has_cuda()):
        for item in on_a_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and CMIDD_GPU=1 beside it"))


def _has_cuda():
    import torch

    return torch.cuda.is_available()


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
