"""From files and the hub to records: readers of every benchmark, and benchmarks made here."""
