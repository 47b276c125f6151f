"""Every field there is, and the checklist: which of them an item needs."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from insource.errors import Invalid
from insource.govern import about_data, about_model, about_people, about_running, dates
from insource.govern.bias import bias
from insource.govern.declared import DECLARABLE, declared
from insource.govern.evidence import Field, Found, Gap, Said, field
from insource.govern.facts import Facts
from insource.nouns import Noun

Answer = Callable[[Facts], Found | Said | Gap]

# field → its title, and who answers
MEASURED: Mapping[str, tuple[str, Answer]] = {
    "owner": ("Owner", about_people.owner),
    "model": ("The model", about_model.model),
    "inputs_outputs": ("Inputs and outputs", about_model.inputs_outputs),
    "base_model": ("Base model", about_model.base_model),
    "training": ("Training", about_model.training),
    "artefact": ("Files", about_model.files),
    "software": ("Software", about_model.software),
    "changelog": ("What is new", about_model.changelog),
    "promise": ("When it answers by itself", about_model.promise),
    "evaluation": ("Results", about_model.evaluation),
    "comparison": ("Beside others", about_model.comparison),
    "acceptance": ("Acceptance criteria", about_model.acceptance),
    "gate": ("The gate", about_model.gate),
    "robustness": ("Robustness", about_model.robustness),
    "known_errors": ("Known errors", about_model.known_errors),
    "calibration": ("Calibration", about_model.calibration),
    "environment": ("Machine, speed and cost", about_model.environment),
    "bias": ("Bias over slices", bias),
    "slices": ("Slices there are", about_data.slices_known),
    "dataset": ("Dataset", about_data.dataset),
    "lineage": ("Lineage", about_data.lineage),
    "rejected": ("Rows set aside", about_data.rejected),
    "labels": ("Labels", about_data.labels),
    "origins": ("Origin of the labels", about_data.origins),
    "near_duplicates": ("Near-duplicates", about_data.near_duplicates),
    "personal_data": ("Personal data in the rows", about_data.personal_data),
    "oversight": ("Human oversight", about_people.oversight),
    "reviewed": ("What people looked at", about_people.reviewed),
    "sensitivity": ("Where a text may go", about_people.sensitivity),
    "egress": ("What left the machine", about_people.egress),
    "retention": ("How long it is kept", about_people.retention),
    "scanning": ("Scans of texts", about_people.scanning),
    "access": ("Who has access", about_people.access),
    "live": ("What answers now", about_running.live),
    "rollback": ("The way back", about_running.rollback),
    "stop": ("How to stop it", about_running.stop),
    "alerts": ("Where alerts go", about_running.alerts),
    "rollout": ("How changes are made", about_running.rollout),
    "history": ("Changes of stage", about_running.history),
    "approval": ("Approval", about_running.approval),
    "audit": ("Audit chain", about_running.audit),
    "checkpoint": ("Signed checkpoint", about_running.checkpoint),
    "service_levels": ("Service levels", about_running.service_levels),
    "holdout": ("Rolling holdout", about_running.holdout),
    "signature": ("Signature", about_running.signature),
    "restore_drill": ("Restore drill", about_running.restore_drill),
    "backup": ("Backups", about_running.backup),
    "retraining": ("Retraining", dates.retraining),
    "calendar": ("Calendar", dates.calendar),
}
OTHERWISE: Mapping[str, Answer] = {"incident_contact": about_people.incident_contact}

# item → its title, and the fields without which it does not hold
ITEMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "model_card": ("Model card", ("model", "training", "evaluation", "environment", "intended_use", "out_of_scope_use",
                                  "limitations")),
    "bias": ("Bias evaluation", ("bias",)),
    "data_lineage": ("Data lineage", ("dataset", "lineage", "labels", "origins")),
    "privacy": ("Privacy impact assessment", ("purpose", "legal_basis", "necessity", "privacy_risks", "sensitivity",
                                              "retention", "personal_data")),
    "incident_plan": ("Incident response plan", ("incident_contact", "stop", "alerts")),
    "review": ("Quarterly review", ("quarterly_review", "calendar")),
    "owner": ("Named owner", ("owner",)),
}  # fmt: skip


class Item(Noun, frozen=True, kw_only=True):
    """One line of the checklist, and which of its fields are missing."""

    name: str
    title: str
    fields: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing of it is missing."""
        return not self.missing


def fields(facts: Facts) -> dict[str, Field]:
    """Every field, answered from the facts and nothing else."""
    found = {name: field(name, title, answer(facts)) for name, (title, answer) in MEASURED.items()}
    for name, (title, _) in DECLARABLE.items():
        answer = OTHERWISE.get(name)
        found[name] = field(name, title, answer(facts) if answer else declared(facts, name))
    return found


def checklist(found: Mapping[str, Field]) -> list[Item]:
    """Each item, with what is missing of it."""
    return [_item(name, title, wanted, found) for name, (title, wanted) in ITEMS.items()]


def lacking(found: Mapping[str, Field], required: Sequence[str]) -> list[str]:
    """The fields that are missing of what is required: names of items or of fields. Raises `Invalid` for others."""
    wanted = [field for name in required for field in wanted_of(name)]
    return list(dict.fromkeys(name for name in wanted if found[name].state == "missing"))


def wanted_of(name: str) -> tuple[str, ...]:
    """The fields of an item, or the field of that name. Raises `Invalid`, naming the nearest."""
    if name in ITEMS:
        return ITEMS[name][1]
    if name in MEASURED or name in DECLARABLE:
        return (name,)
    known = [*ITEMS, *MEASURED, *DECLARABLE]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"items: {', '.join(ITEMS)}; fields are in docs/reference/govern.md"
    raise Invalid(f"the evidence has no item and no field {name!r}", hint=hint)


def declarable(name: str) -> str:
    """The name of a field that a person can fill. Raises `Invalid`, naming the nearest."""
    if name in DECLARABLE:
        return name
    if name in MEASURED:
        hint = "owner stands in the task's file" if name == "owner" else f"declared are {', '.join(DECLARABLE)}"
        raise Invalid(f"{name} is read from what is so: nobody can declare it here", hint=hint)
    near = get_close_matches(name, DECLARABLE, n=1)
    hint = f"did you mean {near[0]}?" if near else f"declared are {', '.join(DECLARABLE)}"
    raise Invalid(f"the evidence has no field {name!r}", hint=hint)


def _item(name: str, title: str, wanted: tuple[str, ...], found: Mapping[str, Field]) -> Item:
    missing = tuple(field for field in wanted if found[field].state == "missing")
    return Item(name=name, title=title, fields=wanted, missing=missing)
