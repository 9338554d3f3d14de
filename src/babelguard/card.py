"""The model card that is written beside a safety prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Template

from babelguard.models.demo import BASE_ID

if TYPE_CHECKING:
    from babelguard.safety_prompt import SafetyPrompt

CARD = Template(
    """---
library_name: babelguard
{% if prompt.base_model %}base_model: {{ prompt.base_model }}
{% endif %}{% if prompt.base_licence %}license: {{ prompt.base_licence }}
{% endif %}language:
{% for code in prompt.training.get("languages", []) %}- "{{ code }}"
{% endfor %}tags:
- babelguard
- safety
- soft-prompt
- multilingual
---

# Safety prompt for {{ prompt.base_model }} ({{ prompt.name }}, seed {{ prompt.seed }})

{{ prompt.theta.shape[0] }} vectors of width {{ prompt.theta.shape[1] }} that stand in the system message of
`{{ prompt.base_model }}`{% if prompt.base_revision %} at revision `{{ prompt.base_revision }}`{% endif %} and make it refuse
harmful requests, and answer harmless ones, in more languages. The model itself is unchanged. Its licence
{%- if prompt.base_licence %} ({{ prompt.base_licence }}){% endif %} also governs what is made with this prompt.

{{ prompt.slot.sentence() }}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
from babelguard import SafetyPrompt

{% if demo %}from babelguard.models.demo import prepare_demo

base = prepare_demo()  # the folder of the demo model: Gemma 3 270M with babelguard's adapter
{% else %}
base = "{{ prompt.base_model }}"
{% endif %}model = AutoModelForCausalLM.from_pretrained(base)
tokenizer = AutoTokenizer.from_pretrained(base)
model, tokenizer = SafetyPrompt.from_pretrained("path/to/this/folder").protect(model, tokenizer)
```

## Results

{{ prompt.results or "Not measured." }}

## Training

{% for key, value in prompt.training.items() %}- {{ key.replace("_", " ") }}:
{%- set plain = value is string or value is number %} {{ value if plain else value | join(", ") }}
{% endfor %}
## Limits

A system message is a default, not a security boundary: whoever controls the template can take it out. Refusals were
counted by a pattern judge on greedy replies cut at a few tokens; other attacks, sampling and longer replies were not
measured unless the table above says so. The prompt works with this base model and this chat template only.

Method: Multilingual Collaborative Defense (arXiv 2505.11835) and this project's variants of it.
"""
)


def model_card(prompt: SafetyPrompt) -> str:
    """Render the card. It names no path of the machine that trained the prompt."""
    return str(CARD.render(prompt=prompt, demo=prompt.base_model == BASE_ID))
