"""Windows that cover a text, and batches of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from transforms.inference.batching import plan_batches
from transforms.inference.windows import truncated_bounds, window_bounds

SIDES = st.sampled_from(["right", "left"])

# tokens, capacity, stride, from the right, from the left
BOUNDS = [
    (0, 6, 2, [(0, 0)], [(0, 0)]),
    (1, 6, 2, [(0, 1)], [(0, 1)]),
    (6, 6, 2, [(0, 6)], [(0, 6)]),
    (7, 6, 2, [(0, 6), (4, 7)], [(1, 7), (0, 3)]),
    (10, 6, 2, [(0, 6), (4, 10)], [(4, 10), (0, 6)]),
    (11, 6, 2, [(0, 6), (4, 10), (8, 11)], [(5, 11), (1, 7), (0, 3)]),
    (7, 3, 0, [(0, 3), (3, 6), (6, 7)], [(4, 7), (1, 4), (0, 1)]),
    (6, 3, 0, [(0, 3), (3, 6)], [(3, 6), (0, 3)]),
    (5, 3, 2, [(0, 3), (1, 4), (2, 5)], [(2, 5), (1, 4), (0, 3)]),
    (3, 1, 0, [(0, 1), (1, 2), (2, 3)], [(2, 3), (1, 2), (0, 1)]),
]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Tokens, capacity and stride."""
    capacity = draw(st.integers(1, 20))
    return draw(st.integers(0, 80)), capacity, draw(st.integers(0, capacity - 1))


@pytest.mark.parametrize(("num_tokens", "capacity", "stride", "right", "left"), BOUNDS)
def test_window_bounds(
    num_tokens: int, capacity: int, stride: int, right: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert window_bounds(num_tokens, capacity, stride) == right
    assert window_bounds(num_tokens, capacity, stride, side="right") == right
    assert window_bounds(num_tokens, capacity, stride, side="left") == left


@pytest.mark.parametrize(
    ("num_tokens", "capacity", "right", "left"),
    [
        (0, 4, (0, 0), (0, 0)),
        (3, 4, (0, 3), (0, 3)),
        (4, 4, (0, 4), (0, 4)),
        (5, 4, (0, 4), (1, 5)),
        (50, 4, (0, 4), (46, 50)),
        (2, 1, (0, 1), (1, 2)),
    ],
)
def test_truncated_bounds(num_tokens: int, capacity: int, right: tuple[int, int], left: tuple[int, int]) -> None:
    assert truncated_bounds(num_tokens, capacity) == [right]
    assert truncated_bounds(num_tokens, capacity, side="left") == [left]


@pytest.mark.parametrize("num_tokens", [0, 3, 100])
@pytest.mark.parametrize(("capacity", "stride"), [(6, -1), (6, 6), (6, 7), (1, 1), (0, 0), (-2, 0), (-2, -3)])
def test_a_stride_that_leaves_no_room_is_refused(num_tokens: int, capacity: int, stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride={stride}: .* {capacity} tokens"):
        window_bounds(num_tokens, capacity, stride)


@pytest.mark.parametrize("capacity", [0, -1])
def test_truncation_to_nothing_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="stride=0"):
        truncated_bounds(5, capacity)


@settings(deadline=None)
@given(cuts(), SIDES)
def test_windows_cover_the_text_in_order(cut: tuple[int, int, int], side: str) -> None:
    num_tokens, capacity, stride = cut
    bounds = window_bounds(num_tokens, capacity, stride, side=side)
    in_order = bounds if side == "right" else bounds[::-1]
    assert {token for start, stop in bounds for token in range(start, stop)} == set(range(num_tokens))
    assert (in_order[0][0], in_order[-1][1]) == (0, num_tokens)
    for (start, stop), (next_start, next_stop) in itertools.pairwise(in_order):
        assert start < next_start
        assert stop < next_stop
        assert stop - next_start == stride
    # All are full but the one that the truncating side leaves over.
    assert all(stop - start == capacity for start, stop in bounds[:-1])
    assert bounds[-1][1] - bounds[-1][0] <= capacity


@settings(deadline=None)
@given(cuts())
def test_left_is_the_mirror_of_right(cut: tuple[int, int, int]) -> None:
    num_tokens, capacity, stride = cut
    mirrored = [
        (num_tokens - stop, num_tokens - start)
        for start, stop in window_bounds(num_tokens, capacity, stride, side="left")
    ]
    assert mirrored == window_bounds(num_tokens, capacity, stride, side="right")


@settings(deadline=None)
@given(cuts(), SIDES)
def test_windows_are_those_of_tokenizers(cut: tuple[int, int, int], side: str) -> None:
    num_tokens, capacity, stride = cut
    tokenizer = Tokenizer(WordLevel({str(number): number for number in range(80)}, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.enable_truncation(capacity, stride=stride, direction=side)
    encoding = tokenizer.encode(" ".join(map(str, range(num_tokens))))
    windows = [list(range(*bounds)) for bounds in window_bounds(num_tokens, capacity, stride, side=side)]
    assert windows == [encoding.ids, *(overflow.ids for overflow in encoding.overflowing)]
    assert [list(range(*bounds)) for bounds in truncated_bounds(num_tokens, capacity, side=side)] == [encoding.ids]


# lengths, most tokens, batches, batches of one length; a call costs 6 tokens
BATCHES = [
    ([], 18, [], []),
    ([5], 18, [[0]], [[0]]),
    ([3, 9, 4, 8], 18, [[1, 3], [2, 0]], [[1], [3], [2], [0]]),  # 2 x 9 and 2 x 4
    ([4, 4, 4, 4, 4], 8, [[0], [1, 2], [3, 4]], [[0], [1, 2], [3, 4]]),
    ([4, 9, 4, 9, 4], 40, [[1, 3], [0, 2, 4]], [[1, 3], [0, 2, 4]]),  # 15 tokens of padding cost more than a call
    ([8, 9, 7, 9, 8], 50, [[1, 3, 0, 4, 2]], [[1, 3], [0, 4], [2]]),  # 4 tokens of padding cost less
    ([20, 3, 3], 10, [[0], [1, 2]], [[0], [1, 2]]),  # too long for any batch, and so alone
    ([5, 5], 9, [[0], [1]], [[0], [1]]),
    ([5, 5], 0, [[0], [1]], [[0], [1]]),
]


@pytest.mark.parametrize(("lengths", "max_tokens", "mixed", "same"), BATCHES)
def test_plan_batches(lengths: list[int], max_tokens: int, mixed: list[list[int]], same: list[list[int]]) -> None:
    assert plan_batches(lengths, max_tokens, call_tokens=6) == mixed
    assert plan_batches(lengths, max_tokens, call_tokens=6, same_length=True) == same


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 200), st.booleans())
def test_batches_hold_every_window_once_and_bound_their_tokens(
    lengths: list[int], max_tokens: int, same_length: bool
) -> None:
    batches = plan_batches(lengths, max_tokens, same_length=same_length)
    positions = [position for batch in batches for position in batch]
    assert sorted(positions) == list(range(len(lengths)))
    assert all(batches)
    assert [lengths[position] for position in positions] == sorted(lengths, reverse=True)
    for batch in batches:
        longest = max(lengths[position] for position in batch)
        assert len(batch) == 1 or len(batch) * longest <= max_tokens
        if same_length:
            assert {lengths[position] for position in batch} == {longest}


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=9), st.integers(1, 200), st.integers(0, 50), st.booleans())
def test_no_other_cuts_cost_less(lengths: list[int], max_tokens: int, call_tokens: int, same_length: bool) -> None:
    def cost(batches: Sequence[Sequence[int]]) -> float:
        for sizes in batches:
            if len(sizes) > 1 and (len(sizes) * sizes[0] > max_tokens or (same_length and sizes[0] != sizes[-1])):
                return math.inf
        return sum(len(sizes) * sizes[0] + call_tokens for sizes in batches)

    plan = plan_batches(lengths, max_tokens, call_tokens=call_tokens, same_length=same_length)
    ordered = sorted(lengths, reverse=True)
    gaps = range(1, len(ordered))
    cuts = itertools.chain.from_iterable(itertools.combinations(gaps, count) for count in range(len(ordered)))
    others = [[ordered[a:b] for a, b in itertools.pairwise([0, *cut, len(ordered)])] for cut in cuts]
    assert cost([[lengths[position] for position in batch] for batch in plan]) == min(map(cost, others), default=0)
