"""Merging two ids of one person on the embedded server."""

from tests.conformance.merges import MergeConformance, test_the_strictest_word_is_off_and_stands_at_the_later_moment


class TestMergesOnTheEmbeddedServer(MergeConformance):
    """The default."""


__all__ = ["TestMergesOnTheEmbeddedServer", "test_the_strictest_word_is_off_and_stands_at_the_later_moment"]
