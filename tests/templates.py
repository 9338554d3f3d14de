"""Chat templates of many kinds, written for the tests: each behaves like the templates of a family of models."""
# ruff: noqa: E501 (a line break in a template would be a line break in the chat)

from __future__ import annotations

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

# The system text is in a turn of its own, in which thinking is switched on; earlier thoughts and the marks of channels are
# cut out of what the model said; texts of users are trimmed; parts that are no text have a mark each.
GEMMA4 = """{%- macro visible(text) -%}{%- set ns = namespace(out='') -%}{%- for piece in text.split('<channel|>') -%}
{%- if '<|channel>' in piece -%}{%- set ns.out = ns.out + piece.split('<|channel>')[0] -%}{%- else -%}{%- set ns.out = ns.out + piece -%}{%- endif -%}{%- endfor -%}{{- ns.out | trim -}}{%- endmacro -%}
{{- bos_token -}}
{%- set start = 0 -%}{%- if (enable_thinking is defined and enable_thinking) or tools or messages[0]['role'] in ['system', 'developer'] -%}{{- '<|turn>system\n' -}}
{%- if enable_thinking is defined and enable_thinking -%}{{- '<|think|>' -}}{%- endif -%}
{%- if messages[0]['role'] in ['system', 'developer'] -%}{%- if messages[0]['content'] is string -%}{{- messages[0]['content'] | trim -}}
{%- else -%}{%- for item in messages[0]['content'] -%}{{- item['text'] | trim -}}{%- endfor -%}{%- endif -%}{%- set start = 1 -%}{%- endif -%}
{%- if tools -%}{%- for tool in tools %}{{- '<|tool>' + tool['function']['name'] + ':' + (tool['function']['description'] or '') + '<tool|>' -}}{%- endfor %}{%- endif -%}{{- '<turn|>\n' -}}{%- endif %}
{%- for message in messages[start:] -%}{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{- '<|turn>' + role + '\n' }}
{%- if message['tool_calls'] -%}{%- for call in message['tool_calls'] -%}{{- '<|tool_call>call:' + call['function']['name'] + '{' -}}{%- for key, value in call['function']['arguments'] | dictsort -%}{{- key + ':' + value | string -}}{%- endfor -%}{{- '}<tool_call|>' -}}{%- endfor -%}{%- endif -%}
{%- if message['content'] is string -%}{%- if role == 'model' -%}{{- visible(message['content']) -}}{%- else -%}{{- message['content'] | trim -}}{%- endif -%}
{%- elif message['content'] is iterable -%}{%- for item in message['content'] -%}{%- if item['type'] == 'text' -%}{%- if role == 'model' -%}{{- visible(item['text']) -}}{%- else -%}{{- item['text'] | trim -}}{%- endif -%}
{%- elif item['type'] == 'image' -%}{{- '\n\n<|image|>\n\n' -}}{%- endif -%}{%- endfor -%}{%- endif -%}{{- '<turn|>\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\n' -}}{%- if not enable_thinking | default(false) -%}{{- '<|channel>thought\n<channel|>' -}}{%- endif -%}{%- endif -%}"""

# A header with dates and a mode, which is cut out of the system text; built-in instructions; the assistant's texts are marked.
SMOLLM3 = """{%- set today = strftime_now("%d %B %Y") -%}{%- set enable_thinking = enable_thinking if enable_thinking is defined else true -%}
{%- set mode = '/think' if enable_thinking else '/no_think' -%}
{%- if messages[0].role == 'system' -%}{%- set given = messages[0].content -%}{%- if '/no_think' in given -%}{%- set mode = '/no_think' -%}{%- endif -%}
{%- set instructions = given.replace('/no_think', '').replace('/think', '').rstrip() -%}{%- endif -%}
{{- '<|im_start|>system\n' -}}
{%- if instructions is defined and '/system_override' in instructions -%}{{- instructions.replace('/system_override', '').rstrip() -}}{{- '<|im_end|>\n' -}}
{%- else -%}{{- '## Metadata\n\nKnowledge until: June\nToday: ' ~ today ~ '\nMode: ' + mode + '\n\n## Instructions\n\n' -}}
{%- if instructions -%}{{- instructions + '\n\n' -}}{%- elif mode == '/think' -%}{{- 'You are Small. Think first.\n\n' -}}{%- else -%}{{- 'You are Small.\n\n' -}}{%- endif -%}
{%- if tools -%}{{- '### Tools\n' -}}{%- for tool in tools -%}{{- tool | string + '\n' -}}{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endif -%}
{%- for message in messages -%}{%- set content = message.content if message.content is string else '' -%}
{%- if message.role == 'user' -%}{{ '<|im_start|>user\n' + content + '<|im_end|>\n' }}
{%- elif message.role == 'assistant' -%}{% generation %}{%- if mode == '/think' -%}{{ '<|im_start|>assistant\n' + content.lstrip('\n') + '<|im_end|>\n' }}{%- else -%}{{ '<|im_start|>assistant\n<think>\n\n</think>\n' + content.lstrip('\n') + '<|im_end|>\n' }}{%- endif -%}{% endgeneration %}
{%- elif message.role == 'tool' -%}{{ '<|im_start|>user\n' + content + '<|im_end|>\n' }}{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}{%- if mode == '/think' -%}{{ '<|im_start|>assistant\n' }}{%- else -%}{{ '<|im_start|>assistant\n<think>\n\n</think>\n' }}{%- endif -%}{%- endif -%}"""

# Built-in text with the date of the day; tools and documents in turns of their own.
GRANITE33 = """{%- if messages[0]['role'] == 'system' -%}{%- set system_message = messages[0]['content'] -%}{%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set system_message = "Knowledge until: April.\nToday: " + strftime_now('%B %d, %Y') + ".\nYou are Rock." -%}
{%- if tools and documents -%}{%- set system_message = system_message + " Use tools and documents." -%}{%- elif tools -%}{%- set system_message = system_message + " Use tools." -%}{%- elif documents -%}{%- set system_message = system_message + " Use documents." -%}{%- elif thinking -%}{%- set system_message = system_message + " Think." -%}{%- endif -%}
{%- set loop_messages = messages -%}{%- endif -%}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' -}}
{%- if tools -%}{{- '<|start_of_role|>available_tools<|end_of_role|>' -}}{{- tools | tojson(indent=4) -}}{{- '<|end_of_text|>\n' -}}{%- endif -%}
{%- if documents -%}{%- for document in documents -%}{{- '<|start_of_role|>document {"id": "' + (loop.index | string) + '"}<|end_of_role|>\n' + document['text'] + '<|end_of_text|>\n' -}}{%- endfor -%}{%- endif -%}
{%- for message in loop_messages -%}{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + (message['content'] or '') + '<|end_of_text|>\n' -}}
{%- if loop.last and add_generation_prompt -%}{{- '<|start_of_role|>assistant<|end_of_role|>' -}}{%- endif -%}{%- endfor -%}"""

# A built-in text that works with today and yesterday; roles must alternate; lists of parts.
MISTRAL_SMALL = """{%- set today = strftime_now("%Y-%m-%d") -%}{%- set yesterday = (strftime_now("%d") | int) - 1 -%}
{%- set default_system_message = "You are Little. Today is " + today + ", yesterday was the " ~ yesterday ~ ".\n\nBe short." -%}{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}{%- if messages[0]['content'] is string -%}{%- set system_message = messages[0]['content'] -%}{%- else -%}{%- set system_message = messages[0]['content'][0]['text'] -%}{%- endif -%}{%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set system_message = default_system_message -%}{%- set loop_messages = messages -%}{%- endif -%}
{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' -}}
{%- for message in loop_messages -%}{%- if message['role'] == 'user' -%}{%- if message['content'] is string -%}{{- '[INST]' + message['content'] + '[/INST]' -}}
{%- else -%}{{- '[INST]' -}}{%- for block in message['content'] -%}{%- if block['type'] == 'text' -%}{{- block['text'] -}}{%- elif block['type'] in ['image', 'image_url'] -%}{{- '[IMG]' -}}{%- else -%}{{- raise_exception('Only text and images!') -}}{%- endif -%}{%- endfor -%}{{- '[/INST]' -}}{%- endif -%}
{%- elif message['role'] == 'system' -%}{{- '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' -}}
{%- elif message['role'] == 'assistant' -%}{%- if message['content'] is string -%}{{- message['content'] + eos_token -}}{%- else -%}{{- message['content'][0]['text'] + eos_token -}}{%- endif -%}
{%- else -%}{{- raise_exception('Only user, system and assistant!') -}}{%- endif -%}{%- endfor -%}"""

# The system text and the tools are beside the last user turn only.
MISTRAL_NEMO = """{%- if messages[0]["role"] == "system" -%}{%- set system_message = messages[0]["content"] -%}{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set loop_messages = messages -%}{%- endif -%}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list -%}
{%- set ns = namespace(index=0) -%}{%- for message in loop_messages -%}{%- if not (message.role == "tool" or (message.role == "assistant" and message.tool_calls)) -%}
{%- if (message["role"] == "user") != (ns.index % 2 == 0) -%}{{- raise_exception("Roles must alternate!") -}}{%- endif -%}{%- set ns.index = ns.index + 1 -%}{%- endif -%}{%- endfor -%}{{- bos_token -}}
{%- for message in loop_messages -%}{%- if message["role"] == "user" -%}{%- if tools and message == user_messages[-1] -%}{{- "[AVAILABLE_TOOLS][" -}}{%- for tool in tools -%}{{- tool.function | tojson -}}{%- endfor -%}{{- "][/AVAILABLE_TOOLS]" -}}{%- endif -%}
{%- if loop.last and system_message is defined -%}{{- "[INST]" + system_message + "\n\n" + message["content"] + "[/INST]" -}}{%- else -%}{{- "[INST]" + message["content"] + "[/INST]" -}}{%- endif -%}
{%- elif message.tool_calls is defined and message.tool_calls -%}{{- "[TOOL_CALLS][" -}}{%- for call in message.tool_calls -%}{{- call.function | tojson -}}{%- endfor -%}{{- "]" + eos_token -}}
{%- elif message["role"] == "assistant" -%}{{- message["content"] + eos_token -}}
{%- elif message["role"] == "tool" -%}{{- '[TOOL_RESULTS]{"content": ' + message.content | string + '}[/TOOL_RESULTS]' -}}
{%- else -%}{{- raise_exception("Only user, assistant and tool!") -}}{%- endif -%}{%- endfor -%}"""

# Tools are described in a system turn of the template's own, in front of the caller's.
HERMES_TOOLS = """{{- bos_token }}{{- '<|im_start|>system\nYou call functions. <tools> ' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{{- ' </tools><|im_end|>\n' }}
{%- for message in messages %}{%- if message.role == "user" or message.role == "system" or (message.role == "assistant" and message.tool_calls is not defined) %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- elif message.role == "assistant" %}{{- '<|im_start|>' + message.role }}{%- for call in message.tool_calls %}{{- '\n<tool_call>\n' }}{{- call.function | tojson }}{{- '\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif message.role == "tool" %}{{- '<|im_start|>tool\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""
HERMES = {"default": "{{ bos_token }}" + CHATML, "tool_use": HERMES_TOOLS}

COMMAND = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = PREAMBLE %}{% endif %}
{{ '<|SYS|>' }}FRONT{{ system_message }}BACK{{ '<|END|>' }}{% for message in loop_messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|USER|>' + content.strip() + '<|END|>' }}
{% elif message['role'] == 'system' %}{{ '<|SYS|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'assistant' %}{{ '<|BOT|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'tool' %}{{ '<|SYS|><results>' + content + '</results><|END|>' }}{% endif %}{% endfor %}
{% if add_generation_prompt %}{{ '<|BOT|>' }}{% endif %}"""
COMMAND_R = {
    "default": COMMAND.replace("PREAMBLE", "false")
    .replace(
        "{{ '<|SYS|>' }}FRONT",
        "{% if system_message != false %}{{ '<|SYS|>' + system_message + '<|END|>' }}{% endif %}",
    )
    .replace("{{ system_message }}BACK{{ '<|END|>' }}", ""),
    "tool_use": COMMAND.replace("PREAMBLE", "'## Task\nYou help.'")
    .replace("FRONT", "{{ '# Safety\nBe safe.\n\n# Instructions\n' }}")
    .replace(
        "BACK",
        "{{ '\n\n## Tools\n' }}{% for tool in tools %}{{ tool['function']['name'] + ': ' + tool['function']['description'] }}{% endfor %}",
    ),
    "rag": COMMAND.replace("PREAMBLE", "'## Task\nYou help.'")
    .replace("FRONT", "{{ '# Safety\nBe safe.\n\n# Instructions\n' }}")
    .replace(
        "BACK",
        "{{ '<|END|><|SYS|><results>' }}{% for document in documents %}{% for key, value in document.items() %}{{ key + ': ' + value }}{% endfor %}{% endfor %}{{ '</results>' }}",
    ),
}

# A header with dates before the system text, and tools in the first user turn; `ipython` for the results of tools.
LLAMA31 = """{{- bos_token }}{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = DATE %}{%- endif %}{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}{%- if builtin_tools is defined or tools is not none %}{{- "Environment: ipython\n" }}{%- endif %}
{{- "Knowledge until: December\nToday: " + date_string + "\n\n" }}{%- if tools is not none and not tools_in_user_message %}{%- for t in tools %}{{- t | tojson(indent=4) + "\n\n" }}{%- endfor %}{%- endif %}{{- system_message }}{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}{%- if messages | length != 0 %}{%- set first_user_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{{- raise_exception("There is no first user message for the tools!") }}{%- endif %}
{{- '<|start_header_id|>user<|end_header_id|>\n\nUse these functions:\n\n' -}}{%- for t in tools %}{{- t | tojson(indent=4) + "\n\n" }}{%- endfor %}{{- first_user_message + "<|eot_id|>" }}{%- endif %}
{%- for message in messages %}{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- elif 'tool_calls' in message %}{%- if not message.tool_calls | length == 1 %}{{- raise_exception("Only single tool calls!") }}{%- endif %}{%- set call = message.tool_calls[0].function %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- "}<|eot_id|>" }}
{%- else %}{{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}{%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}{{- "<|eot_id|>" }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""

# Thoughts of earlier turns are dropped; thinking is on unless it is turned off; tool results are user turns.
QWEN3 = """{%- if tools %}{{- '<|im_start|>system\n' }}{%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}{{- "# Tools\n<tools>" }}{%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}{{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages | length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages | length - 1) - loop.index0 %}
{%- if ns.multi_step_tool and message.role == "user" and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}
{%- for message in messages %}{%- set content = message.content if message.content is string else '' %}{%- if message.role == "user" or (message.role == "system" and not loop.first) %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
{%- elif message.role == "assistant" %}{%- set thought = '' %}{%- if '</think>' in content %}{%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}
{%- if loop.index0 > ns.last_query_index and (loop.last or thought) %}{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{%- else %}{{- '<|im_start|>assistant\n' + content }}{%- endif %}
{%- if message.tool_calls %}{%- for call in message.tool_calls %}{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}
{%- elif message.role == "tool" %}{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}{{- '\n<tool_response>\n' + content + '\n</tool_response>' }}{%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"""

# The last system text counts; thoughts are cut out of the assistant's turns; a thought is opened.
DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{ '<|User|>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message['tool_calls'] %}{%- for tool in message['tool_calls'] %}{{ '<|Assistant|><|call|>' + tool['type'] + tool['function']['name'] + '\n' + (tool['function']['arguments'] | string) + '<|end|>' }}{%- endfor %}
{%- elif message['role'] == 'assistant' %}{%- if ns.is_tool %}{{ '<|outputs_end|>' + message['content'] + '<|end|>' }}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<|Assistant|>' + content + '<|end|>' }}{%- endif %}{%- endif %}
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ '<|outputs_begin|>' + message['content'] }}{%- endif %}{%- endfor -%}
{% if ns.is_tool %}{{ '<|outputs_end|>' }}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{ '<|Assistant|><think>\n' }}{% endif %}"""

PHI3 = "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{ '<|system|>\n' + message['content'] + '<|end|>\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}{% elif message['role'] == 'assistant' %}{{ '<|assistant|>\n' + message['content'] + '<|end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
# The mark of a turn is written from its role.
PHI4 = "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"

# A system message of the template's own with the date and the effort; the caller's instructions are a developer message.
GPT_OSS = """{%- macro developer_block(text, tools) -%}{{- "<|start|>developer<|message|>" }}{%- if text %}{{- "# Instructions\n\n" + text + "\n\n" }}{%- endif %}{%- if tools %}{{- "# Tools\n\nnamespace functions {\n" }}{%- for tool in tools %}{{- "// " + tool.function.description + "\ntype " + tool.function.name + " = () => any;\n" }}{%- endfor %}{{- "}" }}{%- endif %}{{- "<|end|>" }}{%- endmacro -%}
{%- if reasoning_effort is not defined %}{%- set reasoning_effort = "medium" %}{%- endif %}
{{- "<|start|>system<|message|>You are Open.\nToday: " + strftime_now("%Y-%m-%d") + "\n\nReasoning: " + reasoning_effort + "\n\n# Valid channels: analysis, commentary, final.<|end|>" }}
{%- if messages[0].role == "developer" or messages[0].role == "system" %}{%- set text = messages[0].content %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set text = "" %}{%- set loop_messages = messages %}{%- endif %}
{%- if text or tools %}{{- developer_block(text, tools) }}{%- endif %}{%- set last_call = namespace(name=none) %}
{%- for message in loop_messages %}{%- if message.role == 'assistant' %}{%- if message.content and ("<|channel|>analysis<|message|>" in message.content or "<|channel|>final<|message|>" in message.content) %}{{- raise_exception("Pass thoughts in 'thinking'.") }}{%- endif %}
{%- if message.tool_calls %}{%- set call = message.tool_calls[0].function %}{{- "<|start|>assistant to=functions." + call.name + "<|channel|>commentary json<|message|>" }}{{- call.arguments | tojson }}{{- "<|call|>" }}{%- set last_call.name = call.name %}
{%- elif loop.last and not add_generation_prompt %}{%- if message.thinking %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
{%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{%- endif %}
{%- elif message.role == 'tool' %}{%- if last_call.name is none %}{{- raise_exception("There was no call!") }}{%- endif %}{{- "<|start|>functions." + last_call.name + " to=assistant<|channel|>commentary<|message|>" + message.content | tojson + "<|end|>" }}
{%- elif message.role == 'user' %}{{- "<|start|>user<|message|>" + message.content + "<|end|>" }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{%- endif %}"""

# Kinds that no known family has.
LAST_SYSTEM = "{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.s = m.content %}{% endif %}{% endfor %}{{ ns.s }}{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
CUTS = "{% for m in messages %}{{ '<' + m.role + '>' + (m.content.replace('<~>', '') if m.role == 'assistant' else m.content.replace('<image>', '')) + '\n' }}{% endfor %}"
CUTS_SYSTEM = "{% for m in messages %}{{ '<' + m.role + '>' + (m.content.replace('soft', '').replace('|', '') if m.role == 'system' else m.content) + '\n' }}{% endfor %}"
OTHER_BUILT_IN = "{% if messages[0].role == 'system' %}{{ '<<SYS>>' + messages[0].content + '<</SYS>>' }}{% set rest = messages[1:] %}{% else %}{{ 'A chat with Tiny, today ' + strftime_now('%d') + '.\n' }}{% set rest = messages %}{% endif %}{% for m in rest %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
TWICE = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '|' + m.content }}{% endfor %}"
SPACES = "\n   {% if messages[0].role == 'system' %}\n{{ messages[0].content }}\n   {% endif %}\n  {% for m in messages if m.role != 'system' %}\n<{{ m.role }}>{{ m.content | trim }}\n  {% endfor %}\n   \n"
SKIPS_PARTS = """{%- for m in messages %}{{- '<' + m.role + '>' }}{%- if m.content is string %}{{- m.content | trim }}{%- else %}{%- for part in m.content %}{%- if part is string %}{{- part | trim }}{%- elif part.type == 'text' %}{{- part.text | trim }}{%- elif part.type == 'image' %}{{- '<img>' }}{%- endif %}{%- endfor %}{%- endif %}{%- endfor %}"""
# A system message and a picture exclude each other, and so do a system message and tools.
EXCLUSIVE = """{%- set ns = namespace(pictures=false) %}{%- for m in messages %}{%- if m.content is not string %}{%- for part in m.content %}{%- if part.type == 'image' %}{%- set ns.pictures = true %}{%- endif %}{%- endfor %}{%- endif %}{%- endfor %}
{%- if messages[0].role == 'system' and (ns.pictures or tools) %}{{- raise_exception('No system message here!') }}{%- endif %}{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- for m in messages %}{{- '<' + m.role + '>' }}{%- if m.content is string %}{{- m.content | trim }}{%- else %}{%- for part in m.content %}{%- if part.type == 'text' %}{{- part.text | trim }}{%- elif part.type == 'image' %}{{- '<img>' }}{%- endif %}{%- endfor %}{%- endif %}{%- endfor %}"""
MARKED = """{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<a>' }}{% generation %}
{{- message.content }}{% endgeneration %}

{%- else %}{{- '<' + message.role + '>' + message.content }}
{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<a>' }}{%- endif %}"""

LINES = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
# They refuse some chats only if a system message is added.
SYSTEMS = """{% if messages | selectattr('role', 'equalto', 'system') | list | length > 1 -%}
{{ raise_exception('Only one system message.') }}{% endif -%}"""
USER_NEXT = """{% if messages[0].role == 'system' and (messages | length < 2 or messages[1].role != 'user') -%}
{{ raise_exception('A user message must follow the system message.') }}{% endif -%}"""
CLASH = """{% if messages[0].role == 'system' and system_prompt is defined -%}
{{ raise_exception('Give either.') }}{% endif %}{{ system_prompt }}"""

TEMPLATES: dict[str, str | dict[str, str]] = {
    "gemma4": GEMMA4,
    "smollm3": SMOLLM3,
    "granite3.3": GRANITE33,
    "mistral-small": MISTRAL_SMALL,
    "mistral-nemo": MISTRAL_NEMO,
    "hermes": HERMES,
    "command-r": COMMAND_R,
    "llama3.1": LLAMA31.replace("DATE", '"26 Jul 2024"'),
    "llama3.2": LLAMA31.replace("DATE", 'strftime_now("%d %b %Y")'),
    "qwen3": QWEN3,
    "deepseek-r1": DEEPSEEK,
    "phi3": PHI3,
    "phi4": PHI4,
    "gpt-oss": GPT_OSS,
    "last system": LAST_SYSTEM,
    "cuts by role": CUTS,
    "cuts the system text": CUTS_SYSTEM,
    "other built-in": OTHER_BUILT_IN,
    "everything twice": TWICE,
    "white space": SPACES,
    "skips parts": SKIPS_PARTS,
    "marks replies": MARKED,
    "exclusive": EXCLUSIVE,
}
