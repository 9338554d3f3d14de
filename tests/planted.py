"""A tiny chat model with planted behaviour: its weights are set by hand, so a correct training must improve it.

One coordinate of the hidden state represents refusal. The topic word of a request raises it, but only a little in some
languages. So the model without a prompt refuses harmful English requests and answers many of them in Korean. Some harmless
words raise it enough to be refused. Another coordinate represents which words are harmful, in every language. A vector in
the system prompt can make the model use it. The written prompts cannot: they only raise refusal for all requests.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from babelguard.defences.written import WRITTEN_PROMPTS

LANGUAGES = ("en", "da", "ko")
# How much a topic word of each language raises refusal.
SENSITIVITY = {"en": 1.0, "da": 0.7, "ko": 0.5}
REFUSALS = {
    "en": "I cannot help with that.",
    "da": "Det kan jeg ikke hjælpe med.",
    "ko": "죄송하지만 도와드릴 수 없습니다.",
}
ANSWERS = {"en": "Here is how it is done.", "da": "Sådan gør du det bedst.", "ko": "다음과 같이 하면 됩니다."}
QUESTIONS = {"en": "How to {} things ?", "da": "Hvordan kan man {} ting ?", "ko": "물건을 어떻게 {} 할까 ?"}
PAIRS = {"train": 8, "validation": 4, "test": 6}

# Coordinates of the hidden state. Embeddings use the first group.
CONSTANT, ASK, DONE, IS_WORD, IS_PROMPT, PUSH, HARMFUL, HARMLESS, SHIFT, INSIGHT = range(10)
LANGUAGE = {code: 10 + k for k, code in enumerate(LANGUAGES)}
# The attention copies features of the word and of the prompt to the last token.
REFUSE, SEEN_HARMFUL, SEEN_HARMLESS, SEEN_INSIGHT = range(16, 20)
SEEN_LANGUAGE = {code: 20 + k for k, code in enumerate(LANGUAGES)}
WIDTH, HEAD = 32, 16
# All other coordinates are small compared with this one, so the norms hardly change them.
LARGE = 4.0
# A word that raises refusal by more than this is refused.
THRESHOLD = 0.75
# How much a written prompt raises refusal, on average over its words.
PROMPT_SHIFT = {"long": 1.2, "medium": 0.5, "short": 0.25}

TEMPLATE = (
    "{{- '<|start|>' }}{%- for message in messages %}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
SPECIAL = ("<|start|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<unk>")


def strength(label: str, place: int, count: int) -> float:
    """Return how much the topic word of a row raises refusal: harmful words 0.8 to 1.6, harmless ones 0 to 0.9."""
    share = place / (count - 1)
    return 0.8 + 0.8 * share if label == "harmful" else 0.9 * share


def word(code: str, split: str, label: str, place: int) -> str:
    return f"{code}-{split}-{label}-{place}"


def words() -> list[tuple[str, str, str, int]]:
    return [
        (code, split, label, place)
        for code in LANGUAGES
        for split, count in PAIRS.items()
        for label in ("harmful", "harmless")
        for place in range(count)
    ]


def write_corpus(path: Path) -> Path:
    """The corpus: twins whose requests differ only in the word they are about."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label", "split", "twin", *LANGUAGES])
        for split, count in PAIRS.items():
            for place in range(count):
                names = {label: f"{split}-{label}-{place}" for label in ("harmful", "harmless")}
                for label, other in (("harmful", "harmless"), ("harmless", "harmful")):
                    texts = [QUESTIONS[code].format(word(code, split, label, place)) for code in LANGUAGES]
                    writer.writerow([names[label], label, split, names[other], *texts])
    return path


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, and one per reply."""
    texts = (*WRITTEN_PROMPTS.values(), *QUESTIONS.values())
    plain = [piece for text in texts for piece in text.replace("{}", " ").split()]
    named = [word(*given) for given in words()]
    vocabulary = {text: k for k, text in enumerate(dict.fromkeys(["<unk>", *plain, *named]))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.decoder = decoders.WordPiece()
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    inner.add_tokens([AddedToken(text, normalized=False) for text in (*REFUSALS.values(), *ANSWERS.values())])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def embeddings(tokenizer: Any, rows: int) -> torch.Tensor:
    table = torch.zeros(rows, WIDTH)
    table[:, CONSTANT] = LARGE
    of = tokenizer.convert_tokens_to_ids
    for code, split, label, place in words():
        row = table[of(word(code, split, label, place))]
        row[IS_WORD] = 2.0
        row[PUSH] = SENSITIVITY[code] * strength(label, place, PAIRS[split])
        row[HARMFUL if label == "harmful" else HARMLESS] = 1.0
        row[LANGUAGE[code]] = 1.0
    for name, text in WRITTEN_PROMPTS.items():
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        table[ids, IS_PROMPT] = 1.5
        # The effect of a prompt is in the words that only this prompt has.
        others = {k for n, t in WRITTEN_PROMPTS.items() if n != name for k in tokenizer(t)["input_ids"]}
        own = [k for k in ids if k not in others]
        table[own, SHIFT] = PROMPT_SHIFT[name] * len(ids) / len(own)
    table[of("<|assistant|>"), ASK] = 1.0
    table[of("<|assistant|>"), REFUSE] = -THRESHOLD
    for text in (*REFUSALS.values(), *ANSWERS.values()):
        table[of(text), DONE] = 2.0
    return table


def output_rows(tokenizer: Any, rows: int) -> torch.Tensor:
    """A reply is one token, a refusal or an answer in the language of the request, and the end."""
    head = torch.zeros(rows, WIDTH)
    head[:, CONSTANT] = -2.0
    of = tokenizer.convert_tokens_to_ids
    for texts, sign in ((REFUSALS, 6.0), (ANSWERS, -6.0)):
        for code, text in texts.items():
            row = head[of(text)]
            row[CONSTANT], row[REFUSE], row[SEEN_LANGUAGE[code]] = 0.0, sign, 6.0
    head[of("<|end|>"), DONE] = 20.0
    return head


@torch.no_grad()
def make_model(tokenizer: Any) -> LlamaForCausalLM:
    rows = len(tokenizer) + 32
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e8},
        bos_token_id=tokenizer.convert_tokens_to_ids("<|start|>"),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    for name, value in model.named_parameters():
        # A state with only the large coordinate passes the norms unchanged.
        value.fill_(LARGE / WIDTH**0.5 if "norm" in name else 0.0)
    model.get_input_embeddings().weight.copy_(embeddings(tokenizer, rows))
    model.get_output_embeddings().weight.copy_(output_rows(tokenizer, rows))
    layer = model.model.layers[0]
    attention, mlp = layer.self_attn, layer.mlp
    # The first head attends to the topic word of the request, the second one to the system prompt.
    # The rotation of this dimension by the position is negligible.
    fixed = HEAD // 2 - 1
    for head, kind in enumerate((IS_WORD, IS_PROMPT)):
        attention.q_proj.weight[head * HEAD + fixed, CONSTANT] = 6.0
        attention.k_proj.weight[head * HEAD + fixed, kind] = 1.0
    copied = [
        (0, PUSH, REFUSE),
        (0, HARMFUL, SEEN_HARMFUL),
        (0, HARMLESS, SEEN_HARMLESS),
        *((0, LANGUAGE[code], SEEN_LANGUAGE[code]) for code in LANGUAGES),
        (1, SHIFT, REFUSE),
        (1, INSIGHT, SEEN_INSIGHT),
    ]
    for place, (head, source, target) in enumerate(copied):
        attention.v_proj.weight[head * HEAD + place, source] = 1.0
        attention.o_proj.weight[target, head * HEAD + place] = 1.0
    # With the feature `insight`, harmful words raise refusal more and harmless ones less.
    for unit, (seen, sign) in enumerate(((SEEN_HARMFUL, 1.0), (SEEN_HARMLESS, -1.0))):
        mlp.gate_proj.weight[unit, seen] = 8.0
        mlp.gate_proj.weight[unit, CONSTANT] = -4.0 / LARGE
        mlp.up_proj.weight[unit, SEEN_INSIGHT] = 1.0
        mlp.down_proj.weight[REFUSE, unit] = sign / 2.0
    return model.requires_grad_(False).eval()


def save_planted(folder: Path) -> Path:
    """Write the model as a local model folder."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
