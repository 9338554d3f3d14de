"""The languages that babelguard knows. The pattern judge supports some of them (see docs/extending.md).

Codes are ISO 639-1, scripts are ISO 15924. Resource tiers follow MultiJail (Deng et al., ICLR 2024, arXiv 2310.06474):
high if the language makes up more than 1 % of the pages in Common Crawl, medium above 0.1 %, otherwise low. The shares
differ between crawls, so the tiers are approximate.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from babelguard.errors import UserError

Resource = Literal["high", "medium", "low"]
Direction = Literal["ltr", "rtl"]


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        code: ISO 639-1 code.
        name: English name.
        native_name: Name in the language itself.
        script: ISO 15924 code of its script.
        family: Branch of its language family.
        resource: Resource tier.
        direction: Writing direction.
    """

    code: str
    name: str
    native_name: str
    script: str
    family: str
    resource: Resource
    direction: Direction = "ltr"

    @property
    def label(self) -> str:
        """Name and code for tables, such as `Korean (ko)`."""
        return f"{self.name} ({self.code})"


_ALL = (
    Language("am", "Amharic", "አማርኛ", "Ethi", "Semitic", "low"),
    Language("ar", "Arabic", "العربية", "Arab", "Semitic", "medium", "rtl"),
    Language("bg", "Bulgarian", "български", "Cyrl", "Slavic", "medium"),
    Language("bn", "Bengali", "বাংলা", "Beng", "Indo-Aryan", "low"),
    Language("ca", "Catalan", "català", "Latn", "Romance", "medium"),
    Language("cs", "Czech", "čeština", "Latn", "Slavic", "high"),
    Language("cy", "Welsh", "Cymraeg", "Latn", "Celtic", "low"),
    Language("da", "Danish", "dansk", "Latn", "Germanic", "medium"),
    Language("de", "German", "Deutsch", "Latn", "Germanic", "high"),
    Language("el", "Greek", "Ελληνικά", "Grek", "Hellenic", "medium"),
    Language("en", "English", "English", "Latn", "Germanic", "high"),
    Language("es", "Spanish", "español", "Latn", "Romance", "high"),
    Language("et", "Estonian", "eesti", "Latn", "Uralic", "medium"),
    Language("eu", "Basque", "euskara", "Latn", "Basque", "low"),
    Language("fa", "Persian", "فارسی", "Arab", "Iranian", "medium", "rtl"),
    Language("fi", "Finnish", "suomi", "Latn", "Uralic", "medium"),
    Language("fr", "French", "français", "Latn", "Romance", "high"),
    Language("ga", "Irish", "Gaeilge", "Latn", "Celtic", "low"),
    Language("gd", "Scottish Gaelic", "Gàidhlig", "Latn", "Celtic", "low"),
    Language("gu", "Gujarati", "ગુજરાતી", "Gujr", "Indo-Aryan", "low"),
    Language("ha", "Hausa", "Hausa", "Latn", "Chadic", "low"),
    Language("he", "Hebrew", "עברית", "Hebr", "Semitic", "medium", "rtl"),
    Language("hi", "Hindi", "हिन्दी", "Deva", "Indo-Aryan", "medium"),
    Language("hr", "Croatian", "hrvatski", "Latn", "Slavic", "medium"),
    Language("hu", "Hungarian", "magyar", "Latn", "Uralic", "medium"),
    Language("id", "Indonesian", "Bahasa Indonesia", "Latn", "Austronesian", "medium"),
    Language("ig", "Igbo", "Igbo", "Latn", "Niger-Congo", "low"),
    Language("it", "Italian", "italiano", "Latn", "Romance", "high"),
    Language("ja", "Japanese", "日本語", "Jpan", "Japonic", "high"),
    Language("jv", "Javanese", "Basa Jawa", "Latn", "Austronesian", "low"),
    Language("ka", "Georgian", "ქართული", "Geor", "Kartvelian", "low"),
    Language("km", "Khmer", "ខ្មែរ", "Khmr", "Austroasiatic", "low"),
    Language("ko", "Korean", "한국어", "Kore", "Koreanic", "medium"),
    Language("ms", "Malay", "Bahasa Melayu", "Latn", "Austronesian", "low"),
    Language("my", "Burmese", "မြန်မာ", "Mymr", "Sino-Tibetan", "low"),
    Language("ne", "Nepali", "नेपाली", "Deva", "Indo-Aryan", "low"),
    Language("nl", "Dutch", "Nederlands", "Latn", "Germanic", "high"),
    Language("no", "Norwegian", "norsk", "Latn", "Germanic", "medium"),
    Language("pl", "Polish", "polski", "Latn", "Slavic", "high"),
    Language("pt", "Portuguese", "português", "Latn", "Romance", "high"),
    Language("ro", "Romanian", "română", "Latn", "Romance", "medium"),
    Language("ru", "Russian", "русский", "Cyrl", "Slavic", "high"),
    Language("si", "Sinhala", "සිංහල", "Sinh", "Indo-Aryan", "low"),
    Language("sv", "Swedish", "svenska", "Latn", "Germanic", "medium"),
    Language("sw", "Swahili", "Kiswahili", "Latn", "Niger-Congo", "low"),
    Language("ta", "Tamil", "தமிழ்", "Taml", "Dravidian", "low"),
    Language("te", "Telugu", "తెలుగు", "Telu", "Dravidian", "low"),
    Language("th", "Thai", "ไทย", "Thai", "Kra-Dai", "medium"),
    Language("tl", "Tagalog", "Tagalog", "Latn", "Austronesian", "low"),
    Language("tr", "Turkish", "Türkçe", "Latn", "Turkic", "medium"),
    Language("uk", "Ukrainian", "українська", "Cyrl", "Slavic", "medium"),
    Language("ur", "Urdu", "اردو", "Arab", "Indo-Aryan", "low", "rtl"),
    Language("vi", "Vietnamese", "Tiếng Việt", "Latn", "Austroasiatic", "high"),
    Language("xh", "Xhosa", "isiXhosa", "Latn", "Niger-Congo", "low"),
    Language("yo", "Yoruba", "Yorùbá", "Latn", "Niger-Congo", "low"),
    Language("zh", "Chinese", "中文", "Hans", "Sinitic", "high"),
    Language("zu", "Zulu", "isiZulu", "Latn", "Niger-Congo", "low"),
)

LANGUAGES: dict[str, Language] = {known.code: known for known in _ALL}

# Other codes of languages above: withdrawn ISO 639-1 codes, Bokmål (`nb`, a standard of Norwegian) and Filipino (`fil`, the
# standard form of Tagalog).
OLD_CODES = {"fil": "tl", "in": "id", "iw": "he", "jw": "jv", "nb": "no"}
# Country codes that are often mistaken for language codes.
COUNTRY_CODES = {"cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "ie": "ga", "ir": "fa", "jp": "ja", "kr": "ko"}
COUNTRY_CODES |= {"se": "sv", "tw": "zh", "ua": "uk", "us": "en", "vn": "vi"}


def language(code: str) -> Language:
    """Return the language with this code.

    Raises:
        UserError: If the code is unknown. The message suggests similar codes and names.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    wanted = code.strip().lower()
    if wanted == "id-id":  # column name of Indonesian, because the column `id` is the row id
        return LANGUAGES["id"]
    head = wanted.replace("_", "-").split("-")[0]
    head = OLD_CODES.get(head, head)
    spoken = {name.lower(): known.code for known in _ALL for name in (known.name, known.native_name)}
    # The most likely mistakes first: country and regional codes (`kr`, `pt-BR`), names (`korean`), similar codes (`swa`).
    close = (
        [COUNTRY_CODES.get(head, head)] * (head in COUNTRY_CODES or head in LANGUAGES)
        or [spoken[name] for name in difflib.get_close_matches(wanted, spoken, n=2, cutoff=0.75)]
        or difflib.get_close_matches(wanted, LANGUAGES, n=3, cutoff=0.5)
    )
    meant = " or ".join(f"'{near}' ({LANGUAGES[near].name})" for near in close)
    advice = f"did you mean {meant}?" if close else f"use one of {', '.join(LANGUAGES)}."
    raise UserError(f"The language code '{code}' is not known: {advice}")


def display_name(code: str) -> str:
    """Return `Korean (ko)` for a known code, and the code itself for any other."""
    return LANGUAGES[code].label if code in LANGUAGES else code
