"""Balanced batches: shares, rotation, passes, short types, exact resume."""

import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longspan.harness.errors import RecipeError
from longspan.trainers.sampler import BalancedSampler


def pools(**sizes: int) -> dict[str, list[str]]:
    return {kind: [f"{kind}{i}" for i in range(size)] for kind, size in sizes.items()}


def kinds(batch: list[str]) -> Counter[str]:
    return Counter(key[0] for key in batch)


def test_remainder_rotates_over_the_types_by_hand() -> None:
    # 5 = 3 * 1 + 2: the extra two go to a, b; then c, a; then b, c. After three batches 5 each.
    sampler = BalancedSampler(pools(a=50, b=50, c=50), 5, seed=0)
    shares = [kinds(sampler.next_batch()) for _ in range(3)]
    assert shares == [{"a": 2, "b": 2, "c": 1}, {"a": 2, "b": 1, "c": 2}, {"a": 1, "b": 2, "c": 2}]


def test_a_short_type_is_recycled_and_the_batch_stays_balanced() -> None:
    sampler = BalancedSampler(pools(a=3, b=100), 4, seed=1)
    batches = [sampler.next_batch() for _ in range(6)]
    assert all(kinds(batch) == {"a": 2, "b": 2} for batch in batches)
    assert Counter(key for batch in batches for key in batch if key[0] == "a") == {
        "a0": 4,
        "a1": 4,
        "a2": 4,
    }


def test_a_type_smaller_than_its_share_leaves_its_places_to_the_others() -> None:
    sampler = BalancedSampler(pools(a=1, b=100), 6, seed=1)
    batch = sampler.next_batch()
    assert kinds(batch) == {"a": 1, "b": 5}


def test_drop_uses_every_sample_once_before_any_twice() -> None:
    sampler = BalancedSampler(pools(a=2, b=10), 4, seed=1, short_types="drop")
    batches = [sampler.next_batch() for _ in range(3)]
    assert [kinds(batch) for batch in batches] == [{"a": 2, "b": 2}, {"b": 4}, {"b": 4}]
    assert len({key for batch in batches for key in batch}) == 12
    assert kinds(sampler.next_batch()) == {"a": 2, "b": 2}


def test_refuse_names_the_short_type() -> None:
    with pytest.raises(RecipeError, match="got {'a': 1}"):
        BalancedSampler(pools(a=1, b=9), 4, seed=0, short_types="refuse")


def test_too_few_samples_for_a_batch_are_refused() -> None:
    with pytest.raises(RecipeError, match="got 4 > 3"):
        BalancedSampler(pools(a=1, b=2), 4, seed=0)


def test_changed_samples_are_not_resumed() -> None:
    state = BalancedSampler(pools(a=5), 2, seed=0).state_dict()
    with pytest.raises(RecipeError, match="have changed since the run was started"):
        BalancedSampler(pools(a=6), 2, seed=0).load_state_dict(state)


def test_seed_decides_the_order_and_file_order_does_not() -> None:
    first, other = (BalancedSampler(pools(a=20), 8, seed=seed).next_batch() for seed in (0, 1))
    turned = {"a": list(reversed(pools(a=20)["a"]))}
    assert first == BalancedSampler(turned, 8, seed=0).next_batch()
    assert first != other


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(1, 15),
    st.integers(0, 20),
    st.sampled_from(["recycle", "drop"]),
)
@example([1, 2, 2, 5], 9, 0, "drop")
def test_batches_are_full_without_repeats_and_resume_exactly(
    sizes: list[int], batch_size: int, cut: int, policy: str
) -> None:
    batch_size = min(batch_size, sum(sizes))
    data = pools(**{"abcde"[i]: size for i, size in enumerate(sizes)})
    whole = BalancedSampler(data, batch_size, 3, policy)
    expected = [whole.next_batch() for _ in range(cut + 5)]
    assert all(len(set(batch)) == batch_size for batch in expected)
    first = BalancedSampler(data, batch_size, 3, policy)
    for _ in range(cut):
        first.next_batch()
    second = BalancedSampler(data, batch_size, 3, policy)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [second.next_batch() for _ in range(5)] == expected[cut:]
