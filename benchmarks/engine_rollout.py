"""CPU seconds of the embedded engine on the two workloads that the quickstart is made of."""

from __future__ import annotations

import random
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longspan.trainers.local.engine import Engine, GenerationRequest

END = 1


class NoText:
    """Stands in for a tokenizer: the engine needs only its end token."""

    eos_token_id = END


def nano() -> LlamaForCausalLM:
    """Returns a random model of the shape of the packaged checkpoint (0.8M parameters)."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=END,
    )
    return LlamaForCausalLM(config).eval()


def requests(num_prompts: int, per_prompt: int, mean_new: int) -> list[GenerationRequest]:
    """Returns requests of ~200-token prompts whose lengths vary around `mean_new` (3 to 48)."""
    rng = random.Random(0)
    prompts = [
        tuple(rng.randrange(2, 400) for _ in range(rng.randint(180, 207)))
        for _ in range(num_prompts)
    ]
    return [
        GenerationRequest(prompt, max(3, min(48, int(rng.expovariate(1 / mean_new)))), 1.0, 1.0, i)
        for i, prompt in enumerate(p for p in prompts for _ in range(per_prompt))
    ]


def main() -> None:
    """Prints CPU and wall seconds, the best of five."""
    engine = Engine(nano(), NoText())
    for name, workload in (
        ("RL step: 16 prompts x 8 rollouts", requests(16, 8, 16)),
        ("memory turns: 64 distinct prompts", requests(64, 1, 25)),
        ("one request", requests(1, 1, 25)),
    ):
        times = []
        for _ in range(5):
            cpu, wall = time.process_time(), time.perf_counter()
            results = engine.generate(workload)
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
        tokens = sum(len(result.token_ids) for result in results)
        cpu, wall = min(times)
        print(f"{name}: {tokens} tokens, {cpu:.3f} CPU seconds, {wall:.3f} wall")


if __name__ == "__main__":
    main()
