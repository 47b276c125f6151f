"""The language of a text, told by py3langid: byte n-grams and naive Bayes (Lui & Baldwin 2012), in this process."""

from insource.errors import EngineDown

READ = 2000  # characters, from the beginning
SURE = 0.5


class Languages:
    """Tells languages. Reads its model once, when made. Raises `EngineDown` when py3langid is missing."""

    def __init__(self) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ModuleNotFoundError as error:
            raise EngineDown(
                "a rule speaks of a language, and nothing here tells languages", hint="pip install 'insource[language]'"
            ) from error
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=SURE)

    def tell(self, text: str) -> str:
        """The ISO 639 code of the text's language, of its first 2,000 characters; "" where it cannot be told."""
        code, _ = self._identifier.classify(text[:READ])
        return "" if code == "und" else str(code)
