"""The dataset card of an exported corpus: YAML that the hub and `datasets` read, and what a person should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from babelguard.corpus.schema import Corpus
from babelguard.languages import display_name

# `no` is true in YAML where nobody quotes it, and `default: true` opens `all` when no configuration is named.
_HEAD = """---
pretty_name: {name}
license: {licence}
language:
{languages}
task_categories:
- text-classification
tags:
- safety
- multilingual
- refusal
configs:
{configs}
dataset_info:
{features}
---

# {name}

Short requests to a chat model, harmful and harmless, parallel by row: a row says the same thing in every language. The
configuration `all` has a column a language (Indonesian: `id-ID`); the others have one language each, in the column `text`.

```py
from datasets import load_dataset

load_dataset("FOLDER", "all")
load_dataset("FOLDER", "{example}", split="{split}")
```

| split | harmful | harmless | languages |
|---|---|---|---|
{splits}

Fields: `id`, `label` (`harmful` or `harmless`), and where known `split`, `category` (kind of harm), `topic`, `twin` (the row
that is worded alike), `licence`, `maker`, `checker`, `note`.

Some rows are harmful requests; there are no answers to any. Use them to test whether a model refuses, not to train one that
complies.
"""

# The facts of docs/corpus.md.
_SHIPPED = """
## How it was made

Written for the project babelguard; nothing is taken from other sets. The English rows and the translations were written by a
language model (`maker`: machine) and read once more by the same writer; every language but English was then read against the
English by a second reader, also a model (`checker`: machine). No native speaker has read the corpus: treat single rows with
care.

**Twins.** Each harmful row has a harmless twin with a like surface form, so that words alone do not give the label away.

**Topics.** No topic occurs in two splits. Harmful rows carry a hazard category of the MLCommons AILuminate taxonomy: `vcr`
violent crimes, `ncr` non-violent crimes, `src` sex-related crimes (adults only), `iwp` indiscriminate weapons, `ssh` suicide
and self-harm, `hte` hate, `prv` privacy, `ipv` intellectual property, `dfm` defamation, `spc` specialised advice.

**What is not in it.** No answers. No row sexualises minors. Rows on bombs and sabotage name no agent, substance or method.

The test split is for measuring, never for choosing or training.
"""


def dataset_card(
    parts: Mapping[str, Corpus], codes: Sequence[str], columns: Mapping[str, Sequence[str]], shipped: bool
) -> str:
    """The README.md of an exported folder.

    Args:
        parts: What is in it, by split.
        codes: Its languages.
        columns: Of each configuration, all of them texts.
        shipped: Whether the facts of the corpus that ships are stated.
    """
    configs = [_config("all", list(parts), default=True)]
    configs += [_config(code, [name for name, part in parts.items() if code in part.languages]) for code in codes]
    licences = {row.licence for part in parts.values() for row in part.rows}
    licence = "cc-by-4.0" if licences == {"CC-BY-4.0"} else "other"
    with_example = next(name for name, part in parts.items() if codes[-1] in part.languages)
    head = _HEAD.format(
        name="babelguard corpus" if shipped else "Parallel prompts",
        licence=licence,
        languages="\n".join(f"- '{code}'" for code in codes),
        configs="\n".join(configs),
        features="\n".join(_features(name, kept) for name, kept in columns.items()),
        example=codes[-1],
        split=with_example,
        splits="\n".join(_row(name, part) for name, part in parts.items()),
    )
    return head + (_SHIPPED if shipped else "")


def _config(name: str, splits: Sequence[str], default: bool = False) -> str:
    lines = [f"- config_name: '{name}'", *(["  default: true"] if default else []), "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{name}/{split}.jsonl"]
    return "\n".join(lines)


def _features(name: str, columns: Sequence[str]) -> str:
    # Without them a column that one split lacks altogether gets the type null, which the other splits do not fit.
    lines = [f"- config_name: '{name}'", "  features:"]
    for column in columns:
        lines += [f"  - name: '{column}'", "    dtype: string"]
    return "\n".join(lines)


def _row(name: str, part: Corpus) -> str:
    harmful = sum(row.harmful for row in part.rows)
    languages = ", ".join(map(display_name, part.languages))
    return f"| {name} | {harmful} | {len(part.rows) - harmful} | {languages} |"
