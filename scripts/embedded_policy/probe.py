"""Probes a checkpoint: accuracy by question kind, look-ups, and errors of memory turns.

    python scripts/embedded_policy/probe.py trainers/checkpoints/nano

All questions come from worlds drawn with another seed than training. `forced` forbids a direct
answer by banning the answer phrase as first token; its distance from `direct` is the room that
reinforcement learning has. `lookups` is the share of statements whose object the checkpoint finds,
given everything before it, by the length of the document: the skill that all others stand on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict

import torch
from demonstrations import CLEAN_MIXTURE, question_row, state_after
from train import encode_row
from transformers import AutoModelForCausalLM, AutoTokenizer
from world_questions import KINDS, Asked, ask, draw_scene, mentions, select_pages

from longspan.agents.memory_format import BRIEF_INSTRUCTION, parse_state, render_state, render_turn
from longspan.harness.datasets.documents import render_context
from longspan.harness.prompts import ANSWER_PHRASE, render_prompt
from longspan.synth_templates.worlds.world import ENTITY_RELATIONS
from longspan.trainers.local.prefix import packed_target_hidden

SEED = 20_000
LOOKUP_BUDGETS = (60, 100, 140, 179)
STATEMENTS = [relation.statement.strip() for relation in ENTITY_RELATIONS]


def sample(
    model, tokenizer, prompts: list[str], temperature: float, ban: int | None = None
) -> list[str]:
    """Returns one completion per prompt."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": p}], add_generation_prompt=True, tokenize=False
        )
        for p in prompts
    ]
    completions: list[str] = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(
            texts[start : start + 64], add_special_tokens=False, return_tensors="pt", padding=True
        )
        kind = (
            {"do_sample": True, "temperature": temperature, "top_k": 0}
            if temperature
            else {"do_sample": False}
        )
        first = {"begin_suppress_tokens": [ban]} if ban is not None else {}
        with torch.inference_mode():
            out = model.generate(**batch, max_new_tokens=48, **kind, **first)
        new = out[:, batch["input_ids"].shape[1] :]
        completions += tokenizer.batch_decode(new, skip_special_tokens=True)
    return completions


def draw_questions(count: int) -> list[tuple[str, Asked]]:
    """Returns (context, question) pairs, kinds in turn, in documents of full length."""
    rng = random.Random(SEED)
    drawn: list[tuple[str, Asked]] = []
    kinds = list(KINDS)
    while len(drawn) < count:
        scene = draw_scene(rng)
        pages = select_pages(rng, scene, 179, rng.randint(1, 3))
        subjects, tables, said = mentions(scene, pages)
        asked = (
            ask(rng, scene, kinds[len(drawn) % len(kinds)], subjects, tables, said)
            if subjects
            else None
        )
        if asked:
            drawn.append((render_context(pages), asked))
    return drawn


def is_right(completion: str, asked: Asked) -> bool:
    """Returns whether the completion ends with the answer."""
    return completion.rpartition(ANSWER_PHRASE)[2].strip().rstrip(".").strip() == asked.answer


def probe_questions(model, tokenizer, count: int) -> dict[str, object]:
    """Returns accuracies by kind for greedy, sampled, direct and forced-reasoning answers."""
    drawn = draw_questions(count)
    prompts = [render_prompt(context, asked.question) for context, asked in drawn]
    ban = tokenizer.convert_tokens_to_ids(ANSWER_PHRASE)
    report: dict[str, object] = {}
    for name, temperature, banned in (
        ("greedy", 0.0, None),
        ("sampled", 1.0, None),
        ("forced", 1.0, ban),
    ):
        completions = sample(model, tokenizer, prompts, temperature, banned)
        cells: dict[str, list[bool]] = defaultdict(list)
        for text, (_, asked) in zip(completions, drawn, strict=True):
            right = is_right(text, asked)
            style = "direct" if text.startswith(ANSWER_PHRASE) else "reasoned"
            for key in ("all", asked.kind, style):
                cells[key].append(right)
        report[name] = {k: [round(sum(v) / len(v), 3), len(v)] for k, v in sorted(cells.items())}
    return report


def probe_lookups(model, tokenizer, num_rows: int = 40) -> dict[int, list[float]]:
    """Returns, by document length in tokens, the accuracy of look-ups and their number."""
    report: dict[int, list[float]] = {}
    for budget in LOOKUP_BUDGETS:
        rng, hits = random.Random(SEED + 2), []
        for _ in range(num_rows):
            row = question_row(rng, CLEAN_MIXTURE, budget, 12)
            item = encode_row(tokenizer, row)
            with torch.inference_mode():
                found = packed_target_hidden(model, [item])
                predicted = model.lm_head(found.hidden).argmax(-1)
            before = torch.cat([torch.tensor([-1, *target[:-1]]) for _, target in item[1]])
            states = torch.isin(before, torch.tensor(tokenizer.convert_tokens_to_ids(STATEMENTS)))
            hits += (predicted == found.target_ids)[states].tolist()
        report[budget] = [round(sum(hits) / len(hits), 3), len(hits)]
    return report


def probe_turns(model, tokenizer, count: int) -> dict[str, float]:
    """Returns error rates of memory turns, sampled at temperature 1."""
    rng = random.Random(SEED + 1)
    cases = []
    while len(cases) < count:
        scene = draw_scene(rng)
        pages = select_pages(rng, scene, 124, 1)
        about = mentions(scene, pages if len(cases) % 2 else scene.pages)
        asked = ask(rng, scene, rng.choice(list(KINDS)), *about) if about[0] else None
        if asked is None:
            continue
        context, known = render_context(pages), 0
        after = known
        while after < len(asked.keys) and asked.sentences[after] in context:
            after += 1
        state = state_after(asked, known, rng.random() < 0.8)
        prompt = render_turn(context, asked.question, state, "chunk_first", BRIEF_INSTRUCTION)
        cases.append((prompt, asked, after))
    completions = sample(model, tokenizer, [c[0] for c in cases], 1.0)
    counts: dict[str, int] = defaultdict(int)
    for text, (_, asked, after) in zip(completions, cases, strict=True):
        state = parse_state(text)
        counts["malformed"] += state is None
        found = state is not None and state.memory != "empty"
        counts["nothing_here"] += after == 0
        counts["false_find"] += after == 0 and found
        counts["something_here"] += after > 0
        counts["missed_all"] += after > 0 and not found
        counts["exact"] += (
            after > 0 and text.split() == render_state(state_after(asked, after)).split()
        )
    here, empty = max(1, counts["something_here"]), max(1, counts["nothing_here"])
    return {
        "malformed": counts["malformed"] / count,
        "false_find": round(counts["false_find"] / empty, 3),
        "missed_all": round(counts["missed_all"] / here, 3),
        "diligent_exact": round(counts["exact"] / here, 3),
    }


def main() -> None:
    """Prints the probe as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--questions", type=int, default=450)
    parser.add_argument("--turns", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(options.checkpoint, dtype=torch.float32).eval()
    for name, cells in probe_questions(model, tokenizer, options.questions).items():
        print(name, json.dumps(cells))
    print("lookups", json.dumps(probe_lookups(model, tokenizer)))
    print("turns", json.dumps(probe_turns(model, tokenizer, options.turns)))


if __name__ == "__main__":
    main()
