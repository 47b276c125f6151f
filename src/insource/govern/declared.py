"""What no machine can know: fields that only a person can fill, and the word of theirs that counts."""

from collections.abc import Mapping

from insource.govern.evidence import Gap, Said, Source
from insource.govern.facts import Facts

# field → its title, and what to say in it
DECLARABLE: Mapping[str, tuple[str, str]] = {
    "intended_use": ("Intended use", "what it is for, and for whom"),
    "out_of_scope_use": ("Uses it is not for", "what it must not be used for"),
    "affected": ("Who is affected", "whom its answers concern, beside those who ask"),
    "limitations": ("Limitations", "what it is known to do badly, in which cases"),
    "developers": ("Provider", "the organisation that answers for it, with an address"),
    "languages": ("Languages", "the languages of the texts"),
    "licence": ("Licence of the release", "under which terms it may be used"),
    "energy": ("Energy and emissions", "what training and serving take, and how that was found"),
    "metric_choice": ("Why this metric", "why the metric and the limits are the right ones for the purpose"),
    "motivation": ("Why the dataset was made", "for which purpose, by whom, who paid"),
    "collection": ("How the rows were gathered", "by which process, from whom, over which time, did they know"),
    "labelling": ("How the labels were made", "by whom, by which instructions, with which checks"),
    "data_terms": ("Terms of the data", "under which terms the rows may be used"),
    "data_upkeep": ("Who keeps the dataset", "who mends, extends and deletes, and how they are reached"),
    "purpose": ("Purpose of the processing", "what personal data are processed for, and which interest that serves"),
    "legal_basis": ("Legal basis", "under which point of Article 6 (and 9) GDPR"),
    "data_subjects": ("Whose data", "whose personal data, of which kinds, from which sources"),
    "necessity": ("Necessity and proportionality", "why it is needed, and why less would not do"),
    "privacy_risks": ("Risks to persons", "what could happen to them, how likely and how grave"),
    "rights": ("Rights of persons", "how access, correction, deletion and objection are answered"),
    "dpo_advice": ("Advice of the data protection officer", "who was asked and what they said"),
    "risks": (
        "Risk management",
        "known and foreseeable risks to health, safety and rights, and what is done about each",
    ),
    "incident_contact": ("Whom to call", "name and number, day and night"),
    "incident_duties": ("Whom to tell", "authorities, customers and persons, and within which time"),
    "quarterly_review": ("Quarterly review", "what was looked at and decided"),
    "standards": ("Standards applied", "which harmonised or other standards, in full or in part"),
    "conformity": ("Declaration of conformity", "where the EU declaration of conformity is kept"),
}


def declared(facts: Facts, name: str) -> Said | Gap:
    """What counts of what was said of a field: the newest word of a person with a name and a day."""
    spoken = next((one for one in reversed(facts.declared) if one.field == name), None)
    file = facts.configured.governing
    written = file.declared.get(name, "").strip()
    fill = f"insource govern {facts.task.name} --declare {name}=TEXT --by NAME"
    if spoken is not None and spoken.value.strip() and not (written and _later(facts, spoken.created)):
        source = Source(kind="declaration", name=f"{name}, {spoken.created}")
        return Said(words=spoken.value.strip(), by=spoken.by, on=spoken.created, source=source)
    if written and file.by and file.on:
        source = Source(kind="task file", name=facts.configured.file)
        return Said(words=written, by=file.by, on=file.on.isoformat(), source=source)
    if written:
        why = f"tasks/{facts.task.name}.toml says something, but not who says so and when"
        return Gap(why=why, fill="write by and on under [govern]")
    return Gap(why=f"nobody has said: {DECLARABLE[name][1]}", fill=fill)


def _later(facts: Facts, created: str) -> bool:
    """Whether the file's word is of a later day than one said then, and has a name to it."""
    file = facts.configured.governing
    return bool(file.by and file.on and file.on.isoformat() > created[:10])
