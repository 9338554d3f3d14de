"""Language codes of translation models."""

from __future__ import annotations

# ISO 639-3 and ISO 15924 codes, as in FLORES-200 and NLLB-200. If a language has several codes, this is that of the most
# spoken standard.
FLORES = {
    "am": "amh_Ethi",
    "ar": "arb_Arab",
    "bg": "bul_Cyrl",
    "bn": "ben_Beng",
    "ca": "cat_Latn",
    "cs": "ces_Latn",
    "cy": "cym_Latn",
    "da": "dan_Latn",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "en": "eng_Latn",
    "es": "spa_Latn",
    "et": "est_Latn",
    "eu": "eus_Latn",
    "fa": "pes_Arab",
    "fi": "fin_Latn",
    "fr": "fra_Latn",
    "ga": "gle_Latn",
    "gd": "gla_Latn",
    "gu": "guj_Gujr",
    "ha": "hau_Latn",
    "he": "heb_Hebr",
    "hi": "hin_Deva",
    "hr": "hrv_Latn",
    "hu": "hun_Latn",
    "id": "ind_Latn",
    "ig": "ibo_Latn",
    "it": "ita_Latn",
    "ja": "jpn_Jpan",
    "jv": "jav_Latn",
    "ka": "kat_Geor",
    "km": "khm_Khmr",
    "ko": "kor_Hang",
    "ms": "zsm_Latn",
    "my": "mya_Mymr",
    "ne": "npi_Deva",
    "nl": "nld_Latn",
    "no": "nob_Latn",
    "pl": "pol_Latn",
    "pt": "por_Latn",
    "ro": "ron_Latn",
    "ru": "rus_Cyrl",
    "si": "sin_Sinh",
    "sv": "swe_Latn",
    "sw": "swh_Latn",
    "ta": "tam_Taml",
    "te": "tel_Telu",
    "th": "tha_Thai",
    "tl": "tgl_Latn",
    "tr": "tur_Latn",
    "uk": "ukr_Cyrl",
    "ur": "urd_Arab",
    "vi": "vie_Latn",
    "xh": "xho_Latn",
    "yo": "yor_Latn",
    "zh": "zho_Hans",
    "zu": "zul_Latn",
}

# Other codes that MADLAD-400 may use. The first one in its vocabulary is used.
_MADLAD = {"he": ("he", "iw"), "jv": ("jv", "jw"), "tl": ("tl", "fil"), "id": ("id", "in"), "no": ("no", "nb")}


def madlad_prefixes(code: str) -> tuple[str, ...]:
    """Return possible tokens for a target language in MADLAD-400, the most likely first."""
    return tuple(f"<2{name}>" for name in _MADLAD.get(code, (code,)))
