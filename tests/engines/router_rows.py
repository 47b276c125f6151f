"""Three small worlds of texts for routers, made of parts."""

from itertools import product

from insource.engines.router import NO_TASK, Text

WORLDS = {
    "mails": (
        ("move", "delete", "forward", "search", "archive"),
        ("the letter", "my inbox", "this newsletter", "every attachment"),
        ("from my boss", "of last week", "about the invoice", "to the archive folder"),
    ),
    "recipes": (
        ("bake", "fry", "stir", "season", "boil"),
        ("the potatoes", "a chicken", "some pasta", "the onion soup"),
        ("with garlic", "in the oven", "for two hours", "and add cream"),
    ),
    "trains": (
        ("book", "cancel", "show", "change", "reserve"),
        ("a ticket", "the night train", "my seat", "a connection"),
        ("to Vienna", "at platform nine", "for tomorrow morning", "via Hamburg"),
    ),
}
STRANGE = tuple(
    " ".join(parts)
    for parts in product(
        ("who won", "when was", "how tall is", "explain"),
        ("the world cup", "that mountain", "the second king", "quantum gravity"),
        ("in plain words", "really", "again"),
    )
)


def rows(task: str) -> list[Text]:
    return [Text(" ".join(parts), task) for parts in product(*WORLDS[task])]


def splits(*tasks: str, strange: bool = False) -> tuple[list[Text], list[Text]]:
    train, dev = list[Text](), list[Text]()
    for found in (*map(rows, tasks), *([[Text(text, NO_TASK) for text in STRANGE]] if strange else [])):
        dev += found[::4]
        train += [row for place, row in enumerate(found) if place % 4]
    return train, dev
