"""The outlook of a run, said before its first step: what it is about to do, with what, for how long, and where."""

from cmidd.compute.engine import Engine
from cmidd.core.context import Context
from cmidd.runs.beforehand import Part, before, progress
from cmidd.runs.identity import strength, system
from cmidd.runs.plan import evaluations
from cmidd.runs.settings import Settings


def outlook(settings: Settings, context: Context, engine: Engine) -> str:
    """What is about to happen, one line a part."""
    at, iterations = progress(settings)
    tiles = settings.formation.tiles
    count = settings.ipc * context.data.num_classes
    images = f"{count} images, {settings.ipc} of each class, from {STARTS[settings.init]}"
    stages = f" in {len(settings.stage_sizes)} stages" if len(settings.stage_sizes) > 1 else ""
    done = f", of which {at} are done" if at else ""
    engine_said = engine.label if engine.compile else f"{engine.label}, not compiled"
    prepared = before(settings, context, engine=engine)
    lines = [
        *(part for part in prepared if part.what != "baseline"),
        Part("synthetic", images + (f", each holding {tiles} to train on" if tiles > 1 else ""), None),
        Part("distillation", f"{iterations} iterations{stages}{done}", None),
        Part("evaluation", evaluations(settings, at), None),
        *(part for part in prepared if part.what == "baseline"),
        Part("computed", f"on {context.data.device}, {engine_said}", None),
        Part("folder", f"{settings.folder}", None),
    ]
    if settings.tracking == "tensorboard":
        lines.append(Part("tracking", f"tensorboard --logdir {settings.results_root}", None))
    weight = strength(vars(settings.cmi))
    title = f"{system(vars(settings))} on {context.data.name}"
    title += f" with CMI ({weight})" if weight != "0" else ""
    return "\n".join([f"{title}, seed {settings.seed}:", *(f"  {line.what:<13} {line.state}" for line in lines)])


STARTS = {"real": "real ones", "noise": "noise", "recognised": "real ones that experts recognise"}
