"""The process behind `math_equivalence.py`: a script that compares answers, one JSON line in, one out. Never imported.

Only the standard library and math-verify, for `python -I`.
"""

import json
import os
import resource
import sys

MEMORY_BYTES = 2 * 2**30


def main() -> None:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # Whatever the libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    targets = (LatexExtractionConfig(), ExprExtractionConfig())
    for line in sys.stdin:
        reference, text = json.loads(line)
        # A formula is read as LaTeX only inside a LaTeX environment.
        wanted = parse(f"${reference}$", targets, parsing_timeout=None)
        wanted = wanted or parse(reference, targets, parsing_timeout=None)
        found = parse(text, targets, parsing_timeout=None)
        # The reference goes first: the comparison is not symmetric.
        right = bool(wanted and found) and verify(wanted, found, timeout_seconds=None)
        answers.write(json.dumps(right) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
