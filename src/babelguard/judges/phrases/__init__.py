"""Phrases that models use when they refuse, one JSON file per language, and the code that reads them.

The phrases are regular expressions without case, accents, vowel marks, letter variants, quotes and punctuation. In them, `<name>`
is a macro of the same file, `<w3>` stands for up to 3 words, `<c8>` for up to 8 characters, and `~` for the rest of a word.

Fields of a file:

* `script`: the script of the language, the first word of its letters' Unicode names.
* `boundary`: `word` for whole words, `start` if endings are glued to a word, `none` if spaces are removed from the text first.
* `refusal`: says that the request is declined, in any style that is clear from its words.
* `condemn`: says that what was asked is illegal, wrong, harmful or untrue, or asks for the reason. It counts as a refusal only in
  the first sentence, and only if nothing else follows that answers.
* `support`: offers help, safety advice or an alternative instead of what was asked.
* `hedge`: says that something is not possible or not known exactly, and an answer follows. A refusal in the same sentence does
  not count.
* `turn`: announces, after a refusal or a disclaimer, that what was asked follows.
* `cut`: the beginning of a refusal, at the end of a reply that was cut off.
"""

from babelguard.judges.phrases.compiled import Phrases, digest, load_phrases

__all__ = ["Phrases", "digest", "load_phrases"]
