"""Whose signature a release needs before it may answer."""

from insource.nouns.base import Noun


class Signing(Noun, frozen=True, kw_only=True):
    """`[signing]`: `trusted` are files of public keys (PEM), from the workspace.

    A release answers only if one of these signed it. Without any, none needs a signature.
    """

    trusted: tuple[str, ...] = ()
