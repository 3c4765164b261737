"""Compiled, in bf16, in chunks: the same numbers as plain float32, as far as each mode promises."""

import functools
import json
import shutil

import pytest
import torch
import torch.nn.functional as F

from cmidd.compute import engine, passes
from cmidd.compute.engine import Engine, EngineSettings, choose
from cmidd.compute.gradients import class_gradients, squared
from cmidd.data.split import Split
from cmidd.networks import build_network
from cmidd.utils.errors import SettingError
from tests.support.forked import forked

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")


def world(side=8, depth=2):
    generator = torch.Generator().manual_seed(0)
    network = build_network("convnet", (3, side, side), 3, generator, width=8, depth=depth)
    images = torch.randn(12, 3, side, side, generator=generator)
    return network, images, torch.arange(3).repeat(4), generator


def every_pass(network, images, labels, generator):
    """Every pass of the engine with every gradient that is taken of it."""
    theta = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    direction = torch.randn(len(theta), generator=generator)
    leaf = images.clone().requires_grad_()
    embedded = passes.embed(network, leaf)
    (d_embedded,) = torch.autograd.grad(embedded.square().sum(), leaf)
    loss = F.cross_entropy(passes.logits(network, images), labels)
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])
    with torch.no_grad():
        without_graph = passes.embed(network, images)
    per_class = class_gradients(network, Split(leaf, labels), 3, create_graph=True)
    (d_distance,) = torch.autograd.grad(squared(per_class, [torch.ones_like(g) for g in per_class]).sum(), leaf)
    return (
        embedded,
        d_embedded,
        gradient,
        without_graph,
        d_distance,
        *passes.along(network, theta, direction, images, labels)[:3],
    )


def relative(ours, plain):
    return float((ours.detach() - plain.detach()).norm() / plain.detach().norm())


# To generate and compile the code of every pass takes three minutes where it is in no cache; ours are the graphs.
GRAPHS, CODE = "aot_eager", "inductor"
in_code = pytest.param(CODE, marks=[needs_compiler, pytest.mark.heavy])


def compare(precision, backend):
    """Print for every pass its type and how far it is from the plain one, compiled where a backend is named."""
    plain = every_pass(*world(depth=1))
    torch.compile = functools.partial(torch.compile, backend=backend)
    with engine.using(Engine(precision, compile=backend is not None)):
        ours = every_pass(*world(depth=1))
    print(json.dumps([(str(o.dtype), relative(o, p)) for o, p in zip(ours, plain, strict=True)]))


def compared(*how):
    """As :func:`compare`, in a process of its own: what was compiled once stays."""
    done = forked(compare, *how, cwd=None)
    assert done.returncode == 0, done.stderr
    types, differences = zip(*json.loads(done.stdout), strict=True)
    assert set(types) == {"torch.float32"}
    return differences


@pytest.mark.parametrize("backend", [GRAPHS, in_code])
def test_compiled_float32_is_plain_float32_up_to_the_order_of_sums(backend):
    assert max(compared("float32", backend)) < 2e-5


@needs_compiler
@pytest.mark.ci
def test_an_embedding_in_code_is_the_plain_one_with_its_gradient(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # no pool of processes, each with its imports
    network, images, *_ = world(depth=1)
    both = []
    for compiling in (False, True):
        with engine.using(Engine(compile=compiling)):
            leaf = images.clone().requires_grad_()
            embedded = passes.embed(network, leaf)
            both.append((embedded, *torch.autograd.grad(embedded.square().sum(), leaf)))
    for plain, ours in zip(*both, strict=True):
        assert relative(ours, plain) < 2e-5


@pytest.mark.parametrize("backend", [None, GRAPHS, in_code])
def test_bf16_is_near_and_comes_back_in_float32(backend):
    differences = compared("bf16", backend)
    assert 1e-6 < differences[0] < 0.02
    assert max(differences) < 0.2


def test_the_former_engine_is_back_after_the_block():
    with pytest.raises(ZeroDivisionError), engine.using(Engine("bf16")):
        assert engine.current() == Engine("bf16")
        _ = 1 / 0
    assert engine.current() == Engine()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("compiling", [False, True])
def test_the_derivative_along_a_direction_is_the_product_with_the_gradient_and_the_hessian(
    compiling, parts, monkeypatch
):
    """Both ways of computing it, in float64; the forward one without its compilation."""
    network, images, labels, generator = world()
    monkeypatch.setattr(passes, "CHUNK_VALUES", -(-len(images) // parts) * images[0].numel())
    network, images = network.double(), images.double().requires_grad_()
    theta = torch.cat([p.detach().flatten() for p in network.parameters()]).requires_grad_()
    direction = torch.randn(len(theta), dtype=torch.float64, generator=generator)
    monkeypatch.setattr(engine, "_engine", Engine("float32", compiling))
    monkeypatch.setattr(passes, "directional_loss", passes.directional_loss.__wrapped__)
    monkeypatch.setattr(passes, "logits_at", passes.logits_at.__wrapped__)
    ours = passes.along(network, theta, direction, images, labels)[:3]
    loss = F.cross_entropy(passes.flat_call(network, theta, images), labels)
    (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
    torch.testing.assert_close(
        passes.gradient_at(network, theta, images, labels), gradient.detach(), rtol=1e-9, atol=1e-12
    )
    plain = (gradient @ direction, *torch.autograd.grad(gradient @ direction, (theta, images)))
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-9, atol=1e-12)


def test_a_large_set_is_embedded_in_chunks_with_the_same_gradient(monkeypatch):
    network, images, _, _ = world()
    results = []
    for values in (10**9, 5 * images[0].numel()):
        monkeypatch.setattr(passes, "CHUNK_VALUES", values)
        leaf = images.clone().requires_grad_()
        embedded = passes.embed_in_chunks(network, leaf)
        results.append((embedded, torch.autograd.grad(embedded.square().sum(), leaf)[0]))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(whole, chunked, rtol=1e-5, atol=1e-6)


def test_a_short_run_is_not_compiled_and_a_long_one_is_where_there_is_a_compiler(monkeypatch):
    auto = EngineSettings()
    assert choose(auto, CPU, values=1e6) == Engine("float32", False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    assert choose(auto, CPU, values=1e12) == Engine("float32", True)
    assert choose(auto, torch.device("cuda"), values=1e6).precision == "tf32"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert choose(auto, CPU, values=1e12) == Engine("float32", False)
    with pytest.raises(SettingError, match=r"engine\.compile=true: no compiler"):
        choose(EngineSettings(compile=True), CPU, values=0)
    with pytest.raises(SettingError, match=r"engine\.precision=tf32"):
        choose(EngineSettings("tf32"), CPU, values=0)
