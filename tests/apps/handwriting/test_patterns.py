"""A pattern says of every beginning what may follow: held against Python's own regular expressions."""

import re

import numpy as np
import pytest

from elman.apps.core.errors import UsageError
from elman.apps.handwriting.patterns import Pattern

ALPHABET = "ab1 ."
PATTERNS = [
    "a+b*", "(a|b){2,3}", "a?b?1?", "[ab]{0,2}1", "[^a]+", "(ab)*1", r"\d{2,}", r"a(b|1)?\.", "(a*b)+", "(a|b1){2}",
    "(?:ab|1){1,2}a*", "a{0}b", ".*1", "^ab$", "[a-b1]{3}", r"[\d.]+", "((a|b)1)*", "",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_accepts_what_re_accepts(pattern):
    rng = np.random.default_rng(0)
    mine = Pattern(pattern, ALPHABET)
    for _ in range(300):
        text = "".join(rng.choice(list(ALPHABET), rng.integers(0, 6)))
        steps = [mine.allowed(text[:i])[1 + ALPHABET.index(text[i])] for i in range(len(text))]
        assert (all(steps) and bool(mine.allowed(text)[0])) == bool(re.fullmatch(pattern, text)), text


def test_a_letter_is_allowed_only_where_the_text_can_be_completed():
    mask = Pattern("ab|1a", ALPHABET).allowed("")
    assert mask.tolist() == [False, True, False, True, False, False]
    assert Pattern("ab|1a", ALPHABET).allowed("x").sum() == 0


@pytest.mark.parametrize("pattern", ["(a", "[a", "*a", "a{3", r"(?=a)b", r"(a)\1", "(a{100}){100}{100}"])
def test_what_cannot_be_used_is_refused(pattern):
    try:
        re.compile(pattern)
    except re.error:
        known = False
    else:
        known = True
    if pattern == "a{3":  # re takes it as a literal brace
        Pattern(pattern, ALPHABET + "{3")
        return
    with pytest.raises(UsageError, match="--pattern"):
        Pattern(pattern, ALPHABET)
    assert known or pattern in ("(a", "[a", "*a", "(a{100}){100}{100}")
