"""What a completion is worth: answers, rules in two forms, Inspect scorers, the judge."""
