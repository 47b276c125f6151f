"""Why a connection gave no answer."""


class Broken(ConnectionError):
    """The connection ended, or what came over it is no HTTP."""


class NoLine(ConnectionError):
    """There is no connection: nobody answers there, or nobody in time (`late`)."""

    def __init__(self, words: str, *, late: bool = False) -> None:
        super().__init__(words)
        self.late = late
