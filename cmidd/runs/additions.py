"""What a finished run is asked for beside its result: measured as far as its files allow, nothing distilled again."""

import json
import logging
from dataclasses import asdict
from typing import Any

import torch

from cmidd.compute.devices import claimed_device
from cmidd.compute.engine import Engine, fitted, using
from cmidd.compute.recipe import stated
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.evaluation.baselines import baselines
from cmidd.evaluation.chosen_images import KINDS, RULES
from cmidd.evaluation.protocols import FeatureSettings
from cmidd.regularizers.cmi import CMI
from cmidd.runs.build import make_context, make_teachers
from cmidd.runs.record import RunRecord
from cmidd.runs.run_folder import read_finished, refuse_other_images
from cmidd.runs.settings import Settings
from cmidd.synthetic.load import load_synthetic
from cmidd.utils import files
from cmidd.utils.checking import checked
from cmidd.utils.nested import differences

log = logging.getLogger(__name__)
FROM_THE_START = "would have needed it from the start: overwrite=true runs it again (and keeps this run beside)"


def add_to_finished(settings: Settings, record: RunRecord) -> RunRecord:
    """Measure the baselines that ``settings`` name and the record of a finished run lacks, and with ``cmi.measure`` the
    CMI of its last set; say what else would have had to be measured on the way. Returns the record as it is then.
    """
    path = settings.folder / "result.json"
    if _evaluations_missing(settings, record):
        log.warning("evaluation.interval=%d: accuracies on the way %s", settings.evaluation.interval, FROM_THE_START)
    if settings.cmi.measure and (others := _measured_with(settings, record)):
        name, was, now = others[0]
        log.warning(
            "cmi.%s=%s: CMI was measured with %s=%s, and with the other %s", name, now, name, was, FROM_THE_START
        )
    steps = [STEPS[what] for what in asked_beside(settings, record)]
    if not steps:
        return record
    engine = Engine(**checked(Engine, record.engine or {}, f"{path}: engine"))
    with claimed_device(settings.device) as device, using(fitted(engine, device)):
        context = make_context(settings, device)
        refuse_other_images(settings, context)
        for step in steps:
            content = step(settings, context, files.read_json(path))
            files.write_json(path, content)
            files.write_json(settings.folder / "settings.json", content["settings"])
    return read_finished(settings.folder)


def asked_beside(settings: Settings, record: RunRecord) -> list[str]:
    """What :func:`add_to_finished` would measure."""
    lacking = {
        "baselines": _baselines_missing(settings, record),
        "CMI of the last set": settings.cmi.measure and not _stored(record, "cmi").get("measure"),
    }
    return [what for what, lacks in lacking.items() if lacks]


def _stored(record: RunRecord, part: str) -> dict[str, Any]:
    """A part of the settings of a finished run."""
    found: dict[str, Any] = dict(record.settings).get(part, {})  # type: ignore[assignment]
    return found


def _evaluations_missing(settings: Settings, record: RunRecord) -> bool:
    """Whether there would be more accuracies on the way with the interval that is asked for."""
    interval = settings.evaluation.interval
    if interval == _stored(record, "evaluation").get("interval"):
        return False
    starts = range(0, settings.iterations * len(settings.stage_sizes), settings.iterations)
    wanted = {str(start + at) for start in starts for at in range(interval, settings.iterations + 1, interval)}
    return not wanted <= set(record.evaluations or {})


def _measured_with(settings: Settings, record: RunRecord) -> list[tuple[str, Any, Any]]:
    """What else than is asked for CMI was measured with; nothing where it was not."""
    stored = _stored(record, "cmi")
    found = differences(stored, files.as_json(settings.identity)["cmi"]) if stored.get("measure") else []
    return [each for each in found if None not in each]


def _baselines_missing(settings: Settings, record: RunRecord) -> bool:
    """Whether a baseline that is asked for is not there, was trained otherwise on the whole data set, or chosen in
    other features.
    """
    asked, stored = settings.evaluation.baselines, _stored(record, "evaluation")
    was, now = stored.get("whole"), files.as_json(stated(settings.evaluation.whole))
    other = [name for name, old, _ in differences(was, now) if old is not None]
    outdated = {"whole"} if other else set()
    outdated |= _of_other_features(settings, stored)
    return not set(asked) <= set(record.baselines or {}) - outdated


def _of_other_features(settings: Settings, stored: dict[str, Any]) -> set[str]:
    """The kinds of baselines that a record with this ``stored`` evaluation has of other features."""
    same = stored.get("features", asdict(FeatureSettings())) == asdict(settings.evaluation.features)
    return set() if same else set(RULES)


def _baselines_added(settings: Settings, context: Context, content: dict[str, Any]) -> dict[str, Any]:
    """The content of a record with the baselines that the settings name."""
    found = baselines(context, settings.evaluation, settings.ipc)
    stored = content["settings"]["evaluation"]
    before, named = content.get("baselines", {}), {*stored.get("baselines", []), *settings.evaluation.baselines}
    evaluation = dict(stored)
    if "whole" in found:
        evaluation["whole"] = stated(settings.evaluation.whole)
    if not found.keys().isdisjoint(RULES):  # A record says one thing of features: what is of others goes.
        gone = _of_other_features(settings, stored) - found.keys()
        before, named = {kind: values for kind, values in before.items() if kind not in gone}, named - gone
        evaluation.pop("features", None)
        evaluation |= {name: value for name, value in settings.identity["evaluation"].items() if name == "features"}
    evaluation["baselines"] = [kind for kind in KINDS if kind in named]
    measured = {**before, **found}
    return {**content, "baselines": measured, "settings": {**content["settings"], "evaluation": evaluation}}


def _cmi_added(settings: Settings, context: Context, content: dict[str, Any]) -> dict[str, Any]:
    """The content of a record that says that CMI is measured, its value being in ``metrics.jsonl``."""
    metrics, path = settings.folder / "metrics.jsonl", settings.folder / "synthetic.safetensors"
    last = content["last"]["iteration"]
    rows = files.read_rows(metrics) if metrics.exists() else []
    if any("cmi" in row and row["iteration"] == last for row in rows):
        log.warning("cmi.measure=true: the ratio of gradients %s", FROM_THE_START)
        return {**content, "settings": {**content["settings"], "cmi": {**content["settings"]["cmi"], "measure": True}}}
    if not path.exists():
        log.warning("cmi.measure=true: %s is gone, so its CMI cannot be measured; its curve %s", path, FROM_THE_START)
        return content
    teachers = make_teachers(settings, context)
    cmi = CMI(context, teachers, centroids=settings.cmi.centroids, input=settings.cmi.input)
    decoded = load_synthetic(path, context.data.device).decode()
    with torch.no_grad():
        match = Match(decoded.images.new_zeros(()), decoded.images, decoded.labels)
        value = float(cmi(match, context.streams(cmi.name, last - 1, match.draw)))
    files.append_line(metrics, json.dumps({"iteration": last, cmi.name: value}))
    log.info(
        "cmi.measure=true: CMI of the last set is %.4g nats; its curve, and the ratio of gradients, %s",
        value,
        FROM_THE_START,
    )
    own = files.as_json(settings.identity)["cmi"]
    return {**content, "teachers": teachers.about, "settings": {**content["settings"], "cmi": own}}


STEPS = {"baselines": _baselines_added, "CMI of the last set": _cmi_added}
