from longspan.synth_templates.curation.ngrams import jaccard, names, ngrams, words


def test_words_are_folded_runs_of_letters_and_digits():
    assert words("Who is JFK's élève, in 1962?") == ("who", "is", "jfk", "s", "élève", "in", "1962")


def test_a_text_of_n_words_has_n_minus_two_3grams_and_a_short_one_is_its_own():
    assert ngrams(words("a b c d")) == ["a b c", "b c d"]
    assert ngrams(words("a b")) == ["a b"]
    assert ngrams(words("?!")) == []


def test_names_have_capitals_and_do_not_begin_a_sentence():
    assert names("Which film of Karo Bel is older? Options: Oslo (A), rome (B)") == {
        *("karo", "bel", "a", "b"),
    }
    assert names("What was founded in 1962 by NATO?") == {"nato"}
    assert names("Who is the mother of Kim Jong-nam?") == {"kim", "jong", "nam"}


def test_similarity_is_what_both_share_of_what_either_has():
    assert jaccard({"a", "b", "c"}, {"b", "c", "d"}) == 0.5
    assert jaccard(set(), set()) == 0.0
