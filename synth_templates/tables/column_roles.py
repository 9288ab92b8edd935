"""What a column of a table may be asked for: to be averaged, added up, grouped by, named.

SQL averages anything; a reader does not. So identifiers, codes, flags and places are not measures,
and rates and prices are not added up. Headers are judged by their words: what no word gives away
("V7") is taken for a measure, of which an average is at least well defined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from longspan.synth_templates.tables.cells import Cell, ColumnType
from longspan.synth_templates.tables.source_tables import VALUE_NAME, Layout

Role = Literal["measure", "amount", "category", "key", "panel", "year"]
"""Role of a column; none has one where a value is missing.

measure: numbers that may be compared and averaged.
amount: measures that may be added up.
category: texts of which some repeat.
key: texts that each name one row.
panel: texts that, together with the year, each name one row.
year: years, of which there are three at least.
"""

MAX_LABEL_CHARS = 60
MAX_CATEGORIES = 40
MIN_YEARS = 3
_MIN_DISTINCT = 5
_MIN_AMOUNTS = 8
_NO_MEASURE = """id ids identifier code codes index idx no nr num obs observation row rank zip
zipcode postcode phone lat lon long latitude longitude year years yr month months day days
quarter week wk hour minute date version seed subject individual case person patient block key
serial fips unnamed level constant dummy flag treatment class label cluster replicate rep sex
gender race sector industry rk pick jersey status type category mode choice site plot trial run
expt firm"""
_NO_AMOUNT = """time times pos rowpos colpos stage rate rates ratio percent percentage pct per
perc share index price prices avg average mean median temp temperature score scores grade gpa
age log ln growth density weight height width length speed velocity pressure angle position
concentration ph iq mpg bmi pr prop proportion probability std sd se var variance min max
quantile deviation diff difference change cpi infl inflation gdpdefl unemp unemployment"""
_NO_MEASURE_WORDS = frozenset(_NO_MEASURE.split())
_NO_AMOUNT_WORDS = frozenset(_NO_AMOUNT.split())


@dataclass(frozen=True, slots=True, eq=False)
class CorpusColumn:
    """A column of a corpus table.

    Attributes:
        name: Name in SQL.
        header: As the first table writes it; "" where a wide table has none.
        type: Type of its values; that of a derived column is year.
        unit: Unit of its values.
        decimals: Most digits after the point.
        values: One for each row.
        derived_from: Header of the date column of which this is the year, "" for others.
    """

    name: str
    header: str
    type: ColumnType
    unit: str
    decimals: int
    values: tuple[Cell, ...]
    derived_from: str = ""


def column_roles(
    columns: Sequence[CorpusColumn], layout: Layout
) -> dict[Role, tuple[CorpusColumn, ...]]:
    """Returns the columns of each role, in the order of the table."""
    whole = [column for column in columns if None not in column.values]
    years = [c for c in whole if c.type == "year" and len(set(c.values)) >= MIN_YEARS]
    measures = [c for c in whole if _is_measure(c)]
    if layout == "wide":
        measures = [c for c in measures if c.name == VALUE_NAME]
    texts = [c for c in whole if c.type == "text" and _is_speakable(c.values)]
    return {
        "measure": tuple(measures),
        "amount": tuple(c for c in measures if _is_amount(c)),
        "category": tuple(c for c in texts if _is_category(c.values)),
        "key": tuple(c for c in texts if len(set(c.values)) == len(c.values)),
        "panel": tuple(c for c in texts if any(_is_panel(c, year) for year in years[:1])),
        "year": tuple(years),
    }


def _is_measure(column: CorpusColumn) -> bool:
    if column.type != "number" or _NO_MEASURE_WORDS & _words(column):
        return False
    values = [float(value) for value in column.values if value is not None]
    if len(set(values)) < min(_MIN_DISTINCT, len(values)):
        return False
    steps = {b - a for a, b in zip(values, values[1:], strict=False)}
    return not steps <= {0.0, 1.0}  # rows, or what is true of some, counted from above


def _is_amount(column: CorpusColumn) -> bool:
    values = [float(value) for value in column.values if value is not None]
    enough = len(set(values)) >= min(_MIN_AMOUNTS, len(values))
    return enough and min(values) >= 0 and column.unit != "%" and not _is_rate(column)


def _is_rate(column: CorpusColumn) -> bool:
    """Whether adding up means nothing, by a word of the header or a sign: "PTS/G", "W-L%"."""
    signs = "%/" if column.header.strip("%/") else ""
    return bool(_NO_AMOUNT_WORDS & _words(column)) or any(s in column.header for s in signs)


def _is_speakable(values: Sequence[Cell]) -> bool:
    """Whether values can stand in a question, and differ by more than the case of letters."""
    distinct = {str(value) for value in values}
    return (
        len({value.casefold() for value in distinct}) == len(distinct)
        and all(len(v) <= MAX_LABEL_CHARS and '"' not in v for v in distinct)
        and all(any(c.isalpha() for c in value) for value in distinct)
    )


def _is_category(values: Sequence[Cell]) -> bool:
    counts = Counter(values)
    repeated = sum(count > 1 for count in counts.values())
    return 2 <= len(counts) <= MAX_CATEGORIES and repeated >= 2


def _is_panel(column: CorpusColumn, year: CorpusColumn) -> bool:
    pairs = set(zip(column.values, year.values, strict=True))
    labels = set(column.values)
    return len(pairs) == len(column.values) and 1 < len(labels) <= len(pairs) // 2


def _words(column: CorpusColumn) -> set[str]:
    return set(column.name.split("_"))
