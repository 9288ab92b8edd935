"""Small corpora for generators of long contexts."""

import random

SUBJECTS = ["Nobody", "My neighbour", "The mayor of Ely", "Dr. Brown", "An old friend", "The baker"]
ENDINGS = ["likes rain", "left early", "plays chess at night", "sold the boat", "reads maps"]


def essays(num_sentences: int = 400, num_texts: int = 4) -> list[str]:
    """Texts of sentences that hold no number and no hyphen."""
    rng = random.Random(1)
    return [
        " ".join(f"{rng.choice(SUBJECTS)} {rng.choice(ENDINGS)}." for _ in range(num_sentences))
        for _ in range(num_texts)
    ]


def passage(rng: random.Random, fact: str) -> str:
    sentences = [f"{rng.choice(SUBJECTS)} {rng.choice(ENDINGS)}." for _ in range(rng.randint(3, 9))]
    sentences.insert(rng.randrange(len(sentences)), fact)
    return " ".join(sentences)


def squad_articles(num_articles: int = 6, num_paragraphs: int = 5) -> list[dict]:
    """Articles as in dev-v2.0.json: every second question has no answer."""
    rng = random.Random(2)
    return [
        {
            "title": f"Article {a}",
            "paragraphs": [
                {
                    "context": passage(rng, f"The code of item {a}-{p} is C{a}{p}00."),
                    "qas": [
                        {
                            "question": f"What is the code of item {a}-{p}? ",
                            "is_impossible": False,
                            "answers": [{"text": f"C{a}{p}00"}, {"text": f"C{a}{p}00"}]
                            + [{"text": f"is C{a}{p}00"}],
                        },
                        {"question": "Who knows?", "is_impossible": True, "answers": []},
                    ],
                }
                for p in range(num_paragraphs)
            ],
        }
        for a in range(num_articles)
    ]


def hotpot_rows(num_rows: int = 6) -> list[dict]:
    """Rows as in hotpot_dev_distractor_v1.json: two supporting paragraphs among ten."""
    rng = random.Random(3)
    rows = []
    for r in range(num_rows):
        context = [[f"Title {r}-{p}", [passage(rng, f"It is {r}-{p}.")]] for p in range(8)]
        context += [
            [f"Land {r}", [f"The capital of Land {r} is Town {r}.", " It is warm."]],
            [f"Town {r}", [f"Town {r} was built in the year {1700 + r}."]],
        ]
        rng.shuffle(context)
        rows.append(
            {
                "_id": f"row{r}",
                "question": f"When was the capital of Land {r} built?",
                "answer": str(1700 + r),
                "supporting_facts": [[f"Land {r}", 0], [f"Town {r}", 0]],
                "context": context,
            }
        )
    return rows
