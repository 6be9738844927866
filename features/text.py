"""Words of shop texts in Latin and Chinese script, without a dictionary."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# Ideographs of the basic plane with extension A, and kana: scripts written without spaces.
_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_RUNS: Final = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_FIRST_CJK: Final = re.compile(rf"[{_CJK}]")


def split_words(text: str) -> list[str]:
    """Return the terms of a text: words and word pairs in spaced scripts, characters and character pairs in CJK.

    The text is folded first (NFKC, lower case), so that full-width and half-width forms are one. Pairs of CJK
    characters stand in for words: most Chinese words have two (no segmenter, no dictionary to keep current).
    """
    runs = _RUNS.findall(unicodedata.normalize("NFKC", text).lower())
    return [*_terms(runs)]


def _terms(runs: list[str]) -> Iterator[str]:
    before = ""
    for run in runs:
        if _FIRST_CJK.match(run):
            yield from run
            yield from (run[i : i + 2] for i in range(len(run) - 1))
            before = ""
        else:
            yield run
            if before:
                yield f"{before} {run}"
            before = run
