"""How long scorers take: short answers, MRCR pairs, and what a hostile pair does to the event loop.

    python benchmarks/scorer_speed.py

Prints CPU seconds. The peer of the MRCR measure is plain difflib, which has no cap.
"""

from __future__ import annotations

import asyncio
import random
import string
import time
from difflib import SequenceMatcher

from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Target
from inspect_ai.solver import TaskState

from longspan.harness.scoring.grading import grade
from longspan.harness.scoring.rules import RULES
from longspan.harness.scoring.scorers import SCORERS

NUM_ROWS = 10_000
NUM_PAIRS = 20
NUM_CHARS = 8_000
PREFIX = "aYooSG8CQg"
TICK_SECONDS = 0.01
SHORT = [name for name, rule in RULES.items() if not rule.is_slow]
GOLDS = {"letter": "B", "numeric": "1234.5", "docmath": "1234.5"}


def short_answers() -> None:
    """Times rows of a few sentences under every short-answer rule, both forms."""
    rng = random.Random(0)
    for name in SHORT:
        gold = GOLDS.get(name, "Ana Ruiz")
        rows = [
            f"It says so on page {i}. Therefore, the answer is {rng.choice([gold, 'Lima', '7'])}."
            for i in range(NUM_ROWS)
        ]
        started = time.process_time()
        for row in rows:
            grade(name, row, [gold], metadata={"question_type": "multi-session"})
        print(f"{name:<20} {NUM_ROWS:,} rows: {time.process_time() - started:.2f} s")


def mrcr_pairs() -> None:
    """Times the MRCR rule on prose of 8,000 characters against difflib."""
    rng = random.Random(1)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(900)]
    pairs = []
    for _ in range(NUM_PAIRS):
        chosen = rng.choices(words, k=NUM_CHARS // 6)
        kept = [word for word in chosen if rng.random() > 0.1]
        pairs.append((" ".join(kept), " ".join(chosen)))
    metadata = {"random_string_to_prepend": PREFIX}
    started = time.process_time()
    ours = [
        RULES["mrcr"].strict(PREFIX + given, [PREFIX + gold], metadata) for given, gold in pairs
    ]
    seconds = (time.process_time() - started) / NUM_PAIRS
    started = time.process_time()
    peer = [SequenceMatcher(None, given, gold).ratio() for given, gold in pairs]
    peer_seconds = (time.process_time() - started) / NUM_PAIRS
    print(
        f"mrcr, about {NUM_CHARS:,} characters: {1000 * seconds:.1f} ms a pair, difflib "
        f"{1000 * peer_seconds:.1f} ms, ratio {seconds / peer_seconds:.2f}; "
        f"same values: {ours == peer}"
    )


async def hostile_pair() -> None:
    """Times the scorer on the worst pair and the longest gap that it leaves in the event loop."""
    # No character is frequent enough for difflib to leave it out, and none occurs rarely.
    alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + 101)))
    gold = PREFIX + alphabet * 990
    output = ModelOutput.from_content("mock/m", PREFIX + alphabet[::-1] * 990)
    state = TaskState(
        model=ModelName("mock/m"), sample_id="s", epoch=1, input="q", messages=[], output=output,
        metadata={"random_string_to_prepend": PREFIX},
    )  # fmt: skip
    gaps, done = [0.0], asyncio.Event()

    async def tick() -> None:
        last = time.monotonic()
        while not done.is_set():
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    started = time.monotonic()
    await SCORERS["mrcr"]()(state, Target(gold))
    seconds = time.monotonic() - started
    done.set()
    await ticking
    print(f"mrcr, hostile pair of 100,000 characters: {seconds:.1f} s, capped;", end=" ")
    print(f"longest gap in the event loop {1000 * max(gaps):.0f} ms")


if __name__ == "__main__":
    short_answers()
    mrcr_pairs()
    asyncio.run(hostile_pair())
