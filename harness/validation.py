"""What pydantic finds wrong with a file that a user wrote, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def describe_validation(error: ValidationError) -> str:
    """Returns pydantic's findings in one line: key, what is wrong, value."""
    findings = []
    for finding in error.errors(include_url=False)[:3]:
        key = ".".join(map(str, finding["loc"])) or "content"
        if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            findings.append(f"unknown key {key!r}; remove it or mend its spelling")
        elif finding["type"] == "missing":
            findings.append(f"key {key!r} is missing; add it")
        else:
            findings.append(f"{key}: {finding['msg']} (got {finding['input']!r:.60})")
    return "; ".join(findings)
