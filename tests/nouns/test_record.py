"""The name of a call is a UUID of version 7, and every bit of chance in it is one."""

import time
from uuid import RFC_4122, UUID

from insource.nouns import record_id


def test_a_record_is_named_by_a_uuid_that_begins_with_the_time():
    before = time.time_ns() // 1_000_000
    names = [record_id() for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    made = [UUID(hex=name) for name in names]
    assert all(name == one.hex for name, one in zip(names, made, strict=True))
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert all(before <= one.int >> 80 <= after for one in made)
    assert len(set(names)) == len(names)
    fixed = 0b1111 << 76 | 0b11 << 62  # version and variant
    chance = ((1 << 80) - 1) & ~fixed
    ever, always = 0, chance
    for one in made:
        ever |= one.int
        always &= one.int
    assert ever & chance == chance
    assert always == 0
