"""What several tests of engines share."""

import pytest

from insource.engines.models import find
from insource.settings import cache_folder


@pytest.fixture
def local_model():
    """A function that gives the small base model of this machine's cache, or skips."""

    def given():
        local = find("smollm2-135m", cache_folder())
        if local is None:
            pytest.skip("no base model on this disk: insource models pull smollm2-135m")
        return local

    return given
