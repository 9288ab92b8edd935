"""Names of a fictional world: pronounceable, distinct within a world, none of a real place.

A name is built on a stem of two or three invented syllables. `train` leaves out every fourth stem
(by a hash), so that held-out splits also hold names that were never trained on.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Literal

from longspan.synth_templates.triples.relations import PRONOUNS

NamePool = Literal["train", "all"]
NameKind = Literal[
    "person",
    "town",
    "region",
    "country",
    "company",
    "university",
    "museum",
    "newspaper",
    "book",
    "film",
    "song",
    "building",
    "ship",
    "event",
    "restaurant",
    "studio",
    "band",
]

_ONSETS = tuple("b br d dr f fl g gl gr h j k kl l m n p pr r s sk st t th tr v w z".split())  # noqa: SIM905
_MIDDLES = tuple("b d dr g k l ld lm m mb n nd nt p r rd rk rl rn rv s sk st t v z".split())  # noqa: SIM905
_VOWELS = tuple("a a a e e e i i o o o u u ei au".split())  # noqa: SIM905
_CODAS = ("", "", "", "l", "n", "n", "r", "r", "s", "m", "th", "x", "nd")
_HELD_OUT_SHARE = 4

_REAL = frozenset(
    # What the syllables above might spell by chance and a reader would take for something real.
    """berlin london dublin madrid milan rome paris turin boston dallas denver lisbon havana delhi
    manila medina harlem salem berne basel tunis sudan japan brasil kenya malta monaco panama peru
    sweden poland holland roland martin robin helen karen susan daniel samuel muslim roman german
    salad melon lemon robot panel model hotel solar moral royal loyal total metal pedal medal rival
    river season person reason poison prison button cotton mutton devil evil basin ribbon
    preston weston kingston hilton clinton newton boston austin houston aberdeen durham romania
    albania bolivia serbia austria nigeria liberia syria iran oman dragon bandit gorilla banana
    tomato potato piano radio studio volcano tornado""".split()  # noqa: SIM905
)

_TOWN_ENDINGS = ("", "n", "mere", "holm", "wick", "stad", "fell", "by", "haven", "moor", "ness")
_REGION_ENDINGS = ("mark", "ria", "shire", "dale", "land")
_COUNTRY_ENDINGS = ("nia", "ria", "stan", "lia", "via")
_COMPANY_ENDINGS = ("Works", "Company", "Trading", "Industries", "Union", "Holdings", "Enterprises")
_MUSEUM_SUBJECTS = ("Museum", "Gallery", "Collection", "Art Museum", "Maritime Museum")
_PAPER_ENDINGS = ("Courier", "Herald", "Gazette", "Observer", "Chronicle", "Messenger", "Tribune")
_BUILDING_ENDINGS = ("Bridge", "Tower", "Theatre", "Library", "Hall", "Lighthouse", "Station")
_EVENT_KINDS = (
    *("Flood", "Strike", "Fire", "Uprising", "Boycott", "Congress", "Expedition", "Treaty"),
    *("Blockade", "Reform", "Quake", "Inquiry"),
)
_BOOK_TITLES = (
    *("The Lanterns of {}", "A Winter in {}", "Letters to {}", "The Orchards of {}"),
    *("The Silence of {}", "Seven Nights in {}", "The Heirs of {}", "Under the Walls of {}"),
    *("The Clockmaker of {}", "The Road to {}", "Salt and {}", "The Daughters of {}"),
)
_FILM_TITLES = (
    *("Return to {}", "The Last Train to {}", "{} at Midnight", "The {} Affair"),
    *("Shadows of {}", "The Guest of {}", "Leaving {}", "The {} Wager", "Beyond {}"),
)
_SONG_TITLES = (
    *("Song of {}", "{} Waltz", "Farewell to {}", "Lights of {}", "The Bells of {}"),
    *("March of {}", "Rain in {}", "Ballad of {}"),
)
_RESTAURANTS = ("Grill", "Kitchen", "Tavern", "Bistro", "Diner", "Canteen")
_STUDIOS = ("Studio", "Club", "Hall", "Centre")
_BANDS = ("Quartet", "Brothers", "Orchestra", "Trio")


class Names:
    """Draws names that differ from all that were drawn before.

    Not known here: whether a stem means something in some language.
    """

    def __init__(self, rng: random.Random, pool: NamePool = "all") -> None:
        self._rng = rng
        self._pool = pool
        self._taken: set[str] = set()

    def draw(self, kind: NameKind) -> str:
        """Returns a new name; those that take an article ("the Orlen Flood") have it."""
        choice = self._rng.choice
        if kind == "person":
            return f"{self._given()} {self.stem()}"
        stem = self.stem(is_open=kind in ("town", "region", "country"))
        match kind:
            case "town":
                return self._place(stem, _TOWN_ENDINGS)
            case "region":
                return self._place(stem, _REGION_ENDINGS)
            case "country":
                return self._place(stem, _COUNTRY_ENDINGS)
            case "company":
                return f"{stem} {choice(_COMPANY_ENDINGS)}"
            case "university":
                return f"{stem} University"
            case "museum":
                return f"the {stem} {choice(_MUSEUM_SUBJECTS)}"
            case "newspaper":
                return f"the {stem} {choice(_PAPER_ENDINGS)}"
            case "book":
                return choice(_BOOK_TITLES).format(stem)
            case "film":
                return choice(_FILM_TITLES).format(stem)
            case "song":
                return choice(_SONG_TITLES).format(stem)
            case "building":
                return f"{stem} {choice(_BUILDING_ENDINGS)}"
            case "ship":
                return f"the {stem}"
            case "event":
                return f"the {stem} {choice(_EVENT_KINDS)}"
            case "restaurant":
                return f"{stem} {choice(_RESTAURANTS)}"
            case "studio":
                return f"{stem} {choice(_STUDIOS)}"
            case "band":
                return f"the {stem} {choice(_BANDS)}"

    def kin(self, relative: str) -> str:
        """Returns a new person's name with the surname of a relative."""
        return f"{self._given()} {relative.split()[-1]}"

    def stem(self, *, is_open: bool = False) -> str:
        """Returns a new stem, mostly of two syllables; an open one ends in a vowel."""
        while True:
            stem = self._syllables(3 if self._rng.random() < 0.2 else 2)
            if not is_open:
                stem += self._rng.choice(_CODAS)
            if len(stem) > 3 and stem not in self._taken and in_pool(stem, self._pool):
                self._taken.add(stem)
                return stem.capitalize()

    def _place(self, stem: str, endings: Sequence[str]) -> str:
        name = stem + self._rng.choice(endings)
        return name if name.casefold() not in _REAL else self._place(stem, endings)

    def _given(self) -> str:
        return self.stem(is_open=True) + self._rng.choice(("", "n", "l", "s", "ra"))

    def _syllables(self, number: int) -> str:
        choice = self._rng.choice
        parts = [choice(_ONSETS), choice(_VOWELS)]
        for _ in range(number - 1):
            parts += (choice(_MIDDLES), choice(_VOWELS))
        return "".join(parts)


def in_pool(stem: str, pool: NamePool) -> bool:
    """Returns whether a stem may be used: no word or place, and not held out from training."""
    if stem in _REAL or stem in PRONOUNS:
        return False
    return pool == "all" or zlib.crc32(stem.encode()) % _HELD_OUT_SHARE != 0
