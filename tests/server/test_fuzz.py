import random

from fuzz_bodies import fuzz


def test_mutated_bodies_and_a_canary(start):
    print("seed", seed := random.randrange(1 << 30))
    assert fuzz(start(), 5, seed, canary_every=200) > 100
