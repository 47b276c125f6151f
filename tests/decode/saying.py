"""Whether a grammar takes a text."""

from insource.decode.mask import GrammarMask, Vocabulary
from insource.errors import OutputInvalid


def says(vocabulary: Vocabulary, grammar: str, text: str) -> bool:
    """Whether `text` is a whole answer under `grammar`; token 2 of the tests' vocabulary ends one."""
    mask = GrammarMask(vocabulary, grammar)
    try:
        for token in vocabulary.tokens.tokenize_str(text):
            mask.advance(token)
    except OutputInvalid:
        return False
    return mask.done or bool(mask.allowed()[2])
