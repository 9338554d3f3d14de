"""The dataset card of an exported corpus: YAML metadata for the hub and `datasets`, and a description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from babelguard.corpus.schema import Corpus
from babelguard.languages import display_name
from babelguard.markdown import table

# Codes are quoted because YAML reads a bare `no` as false. `default: true` makes `all` the default configuration.
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

Short harmful and harmless requests to a chat model. Each row is one request in several languages. The configuration `all`
has one column per language (Indonesian: `id-ID`). Every other configuration has one language, in the column `text`.

```py
from datasets import load_dataset

load_dataset("FOLDER", "all")
load_dataset("FOLDER", "{example}", split="{split}")
```

{splits}

Fields: `id`, `label` (`harmful` or `harmless`), and optionally `split`, `expected` (`refuse`, `support` or `answer`), `category`
(hazard category), `topic`, `twin` (id of a row with similar wording), `licence`, `maker`, `checker`, `note`.

Some rows are harmful requests. The data contains no answers. Use it to test whether a model refuses harmful requests, not to
train a model to comply with them.
"""

# A summary of docs/corpus.md.
_BUILT_IN = """
## How it was made

The corpus was written for the project babelguard and contains nothing from other data sets. A language model wrote and proofread
the English rows and the translations (`maker`: machine). A second language model then compared every translation with the
English text (`checker`: machine). No native speaker has reviewed the corpus, so do not draw conclusions from single rows.

**Twins.** Each harmful row has a harmless twin with similar wording, so that single words do not reveal the label.

**Topics.** No topic occurs in two splits. Harmful rows have a hazard category of the MLCommons AILuminate taxonomy: `vcr`
violent crimes, `ncr` non-violent crimes, `src` sex-related crimes (adults only), `iwp` indiscriminate weapons, `ssh` suicide
and self-harm, `hte` hate, `prv` privacy, `ipv` intellectual property, `dfm` defamation, `spc` specialised advice.

**Excluded content.** The corpus has no answers. No row sexualises minors. Rows about bombs and sabotage name no agent,
substance or method.

**Hard rows.** The split `hard` contains harmless requests that look harmful at first sight.

Use the splits `test` and `hard` for evaluation only, not for training or model selection.
"""


def dataset_card(
    parts: Mapping[str, Corpus], codes: Sequence[str], columns: Mapping[str, Sequence[str]], built_in: bool
) -> str:
    """Write the README.md of an exported folder.

    Args:
        parts: The exported rows by split.
        codes: Their languages.
        columns: Columns of each configuration. All of them are strings.
        built_in: Whether this is the built-in corpus, so that its description is included.
    """
    configs = [_config("all", list(parts), default=True)]
    configs += [_config(code, [name for name, part in parts.items() if code in part.languages]) for code in codes]
    licences = {row.licence for part in parts.values() for row in part.rows}
    licence = "cc-by-4.0" if licences == {"CC-BY-4.0"} else "other"
    with_example = next(name for name, part in parts.items() if codes[-1] in part.languages)
    head = _HEAD.format(
        name="babelguard corpus" if built_in else "Parallel prompts",
        licence=licence,
        languages="\n".join(f"- '{code}'" for code in codes),
        configs="\n".join(configs),
        features="\n".join(_features(name, kept) for name, kept in columns.items()),
        example=codes[-1],
        split=with_example,
        splits=table(("split", "harmful", "harmless", "languages"), [_row(name, part) for name, part in parts.items()]),
    )
    return head + (_BUILT_IN if built_in else "")


def _config(name: str, splits: Sequence[str], default: bool = False) -> str:
    lines = [f"- config_name: '{name}'", *(["  default: true"] if default else []), "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{name}/{split}.jsonl"]
    return "\n".join(lines)


def _features(name: str, columns: Sequence[str]) -> str:
    # Without explicit types, a column that is empty in one split gets the type null and does not match the others.
    lines = [f"- config_name: '{name}'", "  features:"]
    for column in columns:
        lines += [f"  - name: '{column}'", "    dtype: string"]
    return "\n".join(lines)


def _row(name: str, part: Corpus) -> tuple[str, str, str, str]:
    harmful = sum(row.harmful for row in part.rows)
    return name, str(harmful), str(len(part.rows) - harmful), ", ".join(map(display_name, part.languages))
