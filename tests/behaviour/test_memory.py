"""MTT's memory does not grow with the student's steps."""

import platform

import pytest

from tests.support.forked import forked

# Peak memory (MiB) of a whole gradient over 3, and then over 15 student steps on 20 images 3x32x32.
MEASURE = """
import resource
import torch
from cmidd.networks import build_network
from cmidd.methods.mtt import StudentPasses, StudentStep, trajectory_distance
torch.set_num_threads(1)
network = build_network("convnet", (3, 32, 32), 10, torch.Generator().manual_seed(0), width=32)
theta = torch.cat([p.detach().flatten() for p in network.parameters()])
images, labels = torch.randn(20, 3, 32, 32, requires_grad=True), torch.arange(10).repeat(2)
step = StudentStep(StudentPasses(network), torch.arange(20), labels)
def gradient(steps):
    lr = torch.tensor(0.01, requires_grad=True)
    trajectory_distance(images, lr, theta, theta + 0.01, [step] * steps).backward()
gradient(1) # the libraries' own buffers
for steps in (3, 15):
    gradient(steps)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
print(theta.numel() * 4 / 2**20)
"""


def test_memory_grows_with_the_student_steps_only_by_the_stored_parameters():
    done = forked(exec, MEASURE, {}, cwd=None)
    short, long, parameters = map(float, done.stdout.split())
    assert long <= 1.05 * short + 12 * parameters


# Pages (4 KiB each) that the system hands out while a tensor of 64 MiB is made and freed 20 times over.
FAULTS = """
import resource
import torch
from cmidd.compute.devices import pick_device
pick_device("cpu")
for _ in range(8):  # until the heap has found its size
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be asked to")
def test_memory_that_was_freed_is_used_again():
    done = forked(exec, FAULTS, {}, cwd=None)
    assert int(done.stdout) < 4 * 2**24 * 4 / 4096
