"""The settings of a run that lower the memory it takes."""

from cmidd.runs.settings import Settings

# Of methods, as their configs name them.
SIZES = ("batch_real", "batch_syn", "batch_syn_max", "syn_steps", "net_images")


def ways_to_save(settings: Settings) -> str:
    """Those of a run with their values, as an error names them: ``lower method.batch_real=1024 or ipc=50``.

    They make another run, so the line says how to start one, but for those that change nothing else: these come first.
    """
    sizes = [f"method.{name}={settings.method[name]}" for name in SIZES if settings.method.get(name) is not None]
    if "batch_syn" in settings.method and settings.method["batch_syn"] is None:
        sizes.append("method.batch_syn (null: all images)")
    half = "" if settings.engine.precision == "bf16" else ", or give engine.precision=bf16"
    given = ", ".join([*sizes, f"ipc={settings.ipc}"])
    several = settings.engine.at_once not in ("auto", 1)
    free = [word for word, on in (("graphs=false", settings.engine.graphs), ("at_once=1", several)) if on]
    first = f"give engine.{' and engine.'.join(free)}, with which this run goes on; or " if free else ""
    return f"{first}lower one of {given}{half}, with overwrite=true or another results_root"
