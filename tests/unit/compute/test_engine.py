"""Compiled, in bf16, in chunks: the same numbers as plain float32, as far as each mode promises."""

import functools
import json
import os
import shutil

import pytest
import torch
import torch.nn.functional as F

from cmidd.compute import compilers, engine, passes
from cmidd.compute.engine import Engine, EngineSettings, choose
from cmidd.compute.gradients import class_gradients, gradients_in_one_pass, squared
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
    members = torch.arange(len(labels)).view(3, -1)
    at_once = gradients_in_one_pass(network, Split(leaf, labels), members, create_graph=True)
    (d_at_once,) = torch.autograd.grad(squared(at_once, [torch.ones_like(g) for g in at_once]).sum(), leaf)
    return (
        embedded,
        d_embedded,
        gradient,
        without_graph,
        d_distance,
        torch.cat([each.flatten() for each in at_once]),
        d_at_once,
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


@pytest.mark.parametrize("backend", [None, pytest.param(GRAPHS, marks=pytest.mark.heavy), in_code])
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
    assert torch.equal(passes.along_in_images(network, theta, direction, images, labels), ours[2])


def test_a_compiled_pass_is_asked_for_no_gradient_in_parameters_where_only_images_need_one(monkeypatch):
    """It would compute one whether it is used or not: a quarter of its operations."""
    network, images, labels, generator = world()
    theta = torch.cat([p.detach().flatten() for p in network.parameters()])
    asked, one_pass = [], passes.directional_loss.__wrapped__

    def watched(network, theta, *others):
        asked.append(theta.requires_grad)
        return one_pass(network, theta, *others)

    monkeypatch.setattr(engine, "_engine", Engine("float32", compile=True))
    monkeypatch.setattr(passes, "directional_loss", watched)
    for product in (passes.along, passes.along_in_images):
        product(network, theta, torch.randn(len(theta), generator=generator), images, labels)
    assert asked == [True, False]


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


def test_a_short_run_is_not_compiled_and_a_long_one_is_where_there_is_a_compiler(monkeypatch, caplog):
    auto = EngineSettings()
    assert choose(auto, CPU, values=1e6) == Engine("float32", False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    assert choose(auto, CPU, values=1e12) == Engine("float32", True)
    assert choose(auto, torch.device("cuda"), values=1e6).precision == "tf32"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not caplog.records
    assert choose(auto, CPU, values=1e12) == Engine("float32", False)
    (line,) = caplog.messages
    assert line.startswith("engine.compile=auto: no compiler (")
    with pytest.raises(SettingError, match=r"engine\.compile=true: no compiler"):
        choose(EngineSettings(compile=True), CPU, values=0)
    with pytest.raises(SettingError, match=r"engine\.precision=tf32"):
        choose(EngineSettings("tf32"), CPU, values=0)


def test_compiling_pays_later_on_a_gpu_and_is_never_chosen_where_torch_only_tries(monkeypatch):
    """A step of DM has 8.2e6 values: on a GPU 20,000 of them are a long run, and a tenth of that is not."""
    monkeypatch.setattr(compilers, "lacking", lambda kind: None)
    chosen = {
        (kind, steps): choose(EngineSettings(), torch.device(kind), steps * 8.2e6).compile
        for kind in ("cpu", "cuda", "mps")
        for steps in (2_000, 20_000)
    }
    assert [pair for pair, compiling in chosen.items() if compiling] == [
        ("cpu", 2_000),
        ("cpu", 20_000),
        ("cuda", 20_000),
    ]


def test_a_gpu_without_what_triton_needs_computes_uncompiled_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(compilers, "lacking", lambda kind: "compiler (gcc or clang)")
    assert choose(EngineSettings(), torch.device("cuda"), values=1e12).label == "tf32"
    assert "no compiler (gcc or clang) here, so this long run is not compiled" in caplog.text
    with pytest.raises(SettingError, match=r"engine\.compile=true: no compiler \(gcc or clang\) here"):
        choose(EngineSettings(compile=True), torch.device("cuda"), values=0)


def tf32():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_tf32_is_of_convolutions_alone_and_of_no_float32(precision):
    """Outside an engine torch's own default would be in force, which no record says."""
    assert tf32() == (False, False)
    with engine.using(Engine(precision)):
        assert tf32() == (precision != "float32", False)
    assert tf32() == (False, False)


def test_products_of_matrices_are_float32_whatever_was_set_outside():
    torch.set_float32_matmul_precision("high")
    try:
        with engine.using(Engine("tf32")):
            assert tf32() == (True, False)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


NEWER = {  # Torch's names since 2.9, which its older ones do not go with.
    "all": torch.backends,
    "products": torch.backends.cuda.matmul,
    "convolutions": torch.backends.cudnn.conv,
}


@pytest.mark.parametrize("names", NEWER.values(), ids=NEWER)
def test_what_was_set_by_torchs_newer_names_is_neither_computed_in_nor_lost(names):
    def convolutions():
        return torch.backends.cudnn.conv.fp32_precision

    before = names.fp32_precision
    names.fp32_precision = "tf32"
    outside = convolutions(), torch.backends.cuda.matmul.fp32_precision
    try:
        for precision, inside in (("float32", "ieee"), ("tf32", "tf32")):
            with engine.using(Engine(precision)):
                assert (convolutions(), torch.backends.cuda.matmul.fp32_precision) == (inside, "ieee")
            assert (convolutions(), torch.backends.cuda.matmul.fp32_precision) == outside
            assert names.fp32_precision == "tf32"
    finally:
        names.fp32_precision = before
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False


def test_cublas_is_told_of_determinism_before_it_is_first_used():
    """At import, for a context of CUDA may be there before a run's settings are known."""
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_keys_of_caches_name_the_arithmetic_and_records_the_compilation():
    compiled = Engine("bf16", compile=True, deterministic=True)
    assert compiled.label == "bf16, compiled, deterministic"
    assert compiled.arithmetic == "bf16, deterministic"
    assert Engine(compile=True).arithmetic == "float32"
