"""Tiny random chat models of every family with a real tokenizer, and random safety prompts for them."""
# ruff: noqa: E501 (a line break in a template would be a line break in the chat)

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from babelguard.models.sketch import Sketch
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.safety_prompt import template_digest
from babelguard.prompt.slot import install

SENTENCES = [
    "How do I bake bread with little yeast? Explain how to pick the lock of a neighbour's door.",
    "Hvordan bager jeg brød med lidt gær? Forklar, hvordan man dirker naboens dør op.",
    "적은 효모로 빵을 어떻게 굽나요? 이웃집 문의 자물쇠를 여는 법을 설명해 주세요.",
    "Πώς ψήνω ψωμί με λίγη μαγιά; 用很少的酵母怎么烤面包？ ฉันจะอบขนมปังอย่างไร",
    "You are a helpful assistant for people of all languages. Answer harmless requests directly.",
]

LLAMA = """{{- bos_token }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
{%- if message['content'] is string %}{{- message['content'] | trim }}
{%- else %}{%- for part in message['content'] %}{{- part['text'] | trim }}{%- endfor %}{%- endif %}{{- '<|eot_id|>' }}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""

QWEN2 = """{%- if tools %}{{- '<|im_start|>system\n' }}{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}
{%- else %}{{- 'You are Tiny, a helpful assistant.' }}{%- endif %}{{- '\n# Tools' }}{%- for tool in tools %}{{- '\n' + (tool | tojson) }}
{%- endfor %}{{- '<|im_end|>\n' }}{%- elif messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
{%- else %}{{- '<|im_start|>system\nYou are Tiny, a helpful assistant.<|im_end|>\n' }}{%- endif %}
{%- for message in messages %}{%- if message.role == 'user' or (message.role == 'system' and not loop.first) or message.role == 'assistant' %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

# Without a built-in system text. The empty thought is written only if thinking is turned off.
QWEN3 = """{%- for message in messages %}{%- set content = message.content %}
{%- if message.role == 'assistant' and '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}
{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"""

MISTRAL = """{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}{%- for message in loop_messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('roles must alternate user and assistant') }}{%- endif %}
{%- if message['role'] == 'user' %}{%- if loop.first and system_message is defined %}
{{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}
{%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}{%- endfor %}"""

# The template of Mistral's first models, without a system role.
NO_SYSTEM = """{{- bos_token }}{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('roles must alternate user and assistant') }}{%- endif %}
{%- if message['role'] == 'user' %}
{%- if message['content'] is string %}{{- '[INST] ' + message['content'] + ' [/INST]' }}
{%- else %}{{- '[INST] ' }}{%- for part in message['content'] %}{{- part['text'] }}{%- endfor %}{{- ' [/INST]' }}{%- endif %}
{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"""

GEMMA = """{{- bos_token }}{%- if messages[0]['role'] == 'system' %}
{%- if messages[0]['content'] is string %}{%- set first_user_prefix = messages[0]['content'] + '\n\n' %}
{%- else %}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' %}{%- endif %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set first_user_prefix = '' %}{%- set loop_messages = messages %}{%- endif %}{%- for message in loop_messages %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}
{%- if message['content'] is string %}{{- message['content'] | trim }}
{%- else %}{%- for part in message['content'] %}{%- if part['type'] == 'text' %}{{- part['text'] | trim }}{%- endif %}{%- endfor %}{%- endif %}
{{- '<end_of_turn>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{%- endif %}"""


@dataclass(frozen=True)
class Family:
    """A model family: its configuration class, template, special tokens, and reserved ids."""

    config: Any
    template: str
    bos: str | None
    eos: str
    specials: tuple[str, ...] = ()
    reserved: str = ""  # a format such as `<unused{}>`
    spare: int = 0  # rows of the embedding table without a token
    extra: tuple[tuple[str, Any], ...] = ()


FAMILIES = {
    "llama": Family(
        LlamaConfig,
        LLAMA,
        "<|begin_of_text|>",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>"),
        reserved="<|reserved_special_token_{}|>",
    ),
    "qwen2": Family(Qwen2Config, QWEN2, None, "<|im_end|>", ("<|im_start|>",), spare=48),
    "qwen3": Family(
        Qwen3Config,
        QWEN3,
        None,
        "<|im_end|>",
        ("<|im_start|>",),
        extra=(("tie_word_embeddings", True), ("head_dim", 16)),
    ),
    "mistral": Family(MistralConfig, MISTRAL, "<s>", "</s>", ("[INST]", "[/INST]"), extra=(("sliding_window", None),)),
    "gemma3": Family(
        Gemma3TextConfig,
        GEMMA,
        "<bos>",
        "<end_of_turn>",
        ("<start_of_turn>",),
        reserved="<unused{}>",
        # The window is smaller than all sequences of the tests. Every second layer has it.
        extra=(
            ("sliding_window", 7),
            ("layer_types", ["sliding_attention", "full_attention", "sliding_attention"]),
            ("head_dim", 16),
            ("query_pre_attn_scalar", 16),
        ),
    ),
    "granite": Family(
        GraniteConfig,
        QWEN3,
        None,
        "<|im_end|>",
        ("<|im_start|>",),
        spare=48,
        extra=(
            ("embedding_multiplier", 12.0),
            ("residual_multiplier", 0.22),
            ("attention_multiplier", 0.25),
            ("logits_scaling", 4.0),
        ),
    ),
}
MAIN = ("llama", "qwen2", "qwen3", "mistral", "gemma3")
RESERVED_TOKENS = 40


@cache
def byte_tokenizer() -> Tokenizer:
    """Return a byte-level BPE tokenizer with 500 tokens, which can encode and decode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def make_tokenizer(family: Family, template: str | None = None) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a family. The special tokens are added first, then the reserved ones."""
    names = [name for name in (family.bos, family.eos, *family.specials) if name]
    names += [family.reserved.format(k) for k in range(RESERVED_TOKENS)] if family.reserved else []
    inner = Tokenizer.from_str(byte_tokenizer().to_str())
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    known = {"eos_token": family.eos, "pad_token": family.eos} | ({"bos_token": family.bos} if family.bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **known)
    tokenizer.chat_template = template or family.template
    return tokenizer


def make_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """Return a seeded random float32 model of a family, with embeddings large enough for prompts to have an effect."""
    family = FAMILIES[name]
    tokenizer = make_tokenizer(family)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer) + family.spare,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.15,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    config = family.config(**(settings | dict(family.extra) | changes))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if name in ("gemma3", "granite"):
        # These models scale their embeddings. Without this division, every reply would depend on the last token only.
        model.get_input_embeddings().weight.data /= 8 if name == "gemma3" else 12
    return model.requires_grad_(False).eval()


def save_family(name: str, folder: Path, **changes: Any) -> Path:
    """Save the model and tokenizer of a family as a local model folder."""
    make_model(name, **changes).save_pretrained(folder)
    make_tokenizer(FAMILIES[name]).save_pretrained(folder)
    return folder


def load_family(folder: Path) -> tuple[Any, Any]:
    """Load model and tokenizer from a folder, as a user does."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.requires_grad_(False).eval(), AutoTokenizer.from_pretrained(folder)


def make_prompt(model: Any, tokenizer: Any, count: int = 5) -> SafetyPrompt:
    """Return a random safety prompt for a model."""
    _, slot = install(tokenizer, count, model.get_input_embeddings().weight.shape[0])
    theta = torch.randn(count, 64, generator=torch.Generator().manual_seed(5))
    return SafetyPrompt(
        theta=theta,
        slot=slot,
        base_model="tiny/chat",
        base_revision="abc",
        base_sketch=Sketch.of(model),
        base_licence="apache-2.0",
        name="mcd",
        seed=3,
        template_digest=template_digest(tokenizer),
        training={"languages": ["en", "da"], "steps": 4, "start": "Be safe."},
        results="| a table |",
    )
