"""What a caller may wish of contents."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentWishes:
    """Rules for one list of contents.

    Attributes
    ----------
    forms : tuple of str
        Only these forms (article, short_video, live, podcast); empty: all.
    again : bool
        Whether what the customer has read may come again.
    """

    forms: tuple[str, ...] = ()
    again: bool = False
