"""Terms of Latin and Chinese texts."""

from features.text import split_words


def test_latin_words_come_alone_and_in_pairs_folded():
    assert split_words("Green  TEA, 100g") == ["green", "tea", "green tea", "100g", "tea 100g"]


def test_chinese_comes_as_characters_and_their_pairs():
    assert split_words("绿茶叶") == ["绿", "茶", "叶", "绿茶", "茶叶"]


def test_mixed_and_full_width_texts_are_cut_where_the_script_changes():
    assert split_words("Ａ２乳") == ["a2", "乳"]
    assert split_words("") == []
