"""What is wrong with a request, in plain words: the validator's kinds of error and the sentence for each.

A sentence follows the field's name and a colon and says what to send instead. It never repeats a value of the request:
answers are logged by callers, and values are personal.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic_core import ErrorDetails

from features.sentences import plain

UNREADABLE_JSON: Final = "The body is not valid JSON; check quotes, commas and brackets, and send UTF-8."
_LONGEST_NAME: Final = 60

# Kinds of pydantic-core whose words in `features/sentences.py` are those of settings, not of JSON, or that have none.
_SENTENCES: Final[Mapping[str, str]] = {
    "extra_forbidden": "is not a field here; leave it out or mend its name",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_unicode": "must be whole Unicode characters, no halves of a surrogate pair",
    "int_parsing_size": "is too large a number",
    "too_long": "may hold at most {max_length}; send the rest in another request",
    "list_type": "must be a list in square brackets",
    "dict_type": "must be a JSON object in braces",
    "model_type": "must be a JSON object in braces",
    "model_attributes_type": "must be a JSON object in braces",
}
_UNKNOWN: Final = "does not fit its schema; compare it with /docs"


def sentence_of(error: ErrorDetails) -> str:
    """Return what to do about one error of the validator, never in the validator's own words."""
    if error["type"] in _SENTENCES:
        return _SENTENCES[error["type"]].format_map(error.get("ctx", {}))
    said = plain(error)
    return _UNKNOWN if said == error["msg"] else said


def field_of(location: Sequence[int | str]) -> str:
    """Return where in a request a fault lies, as `context.basket.0`; what the caller named himself is shortened."""
    parts = [str(part)[:_LONGEST_NAME] for part in location]
    return ".".join(parts[1:] if parts and parts[0] in ("body", "query", "path") else parts)
