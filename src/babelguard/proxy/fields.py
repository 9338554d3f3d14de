"""The fields of a chat request that are forwarded. All others are refused by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, JsonValue, StrictBool, model_validator
from pydantic_core import PydanticCustomError

# The kind of a pydantic error for something that is not forwarded.
UNLISTED = "unlisted"
# Numbers that all engines read in the same way.
_TOKEN_ID = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)

MAX_BIASES = 1024


class Listed(BaseModel):
    """A JSON object with listed fields. Fields that are null count as absent, except for the content of a message."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key == "content"}


def _one_text(content: Any) -> Any:
    """Join the text parts of a message with line breaks, so that no placeholder is put together from them."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str) or len(part) != 2:
            raise PydanticCustomError(UNLISTED, "it has a part that is not a text")
        texts.append(part["text"])
    return "\n".join(texts)


def _ids(bias: Any) -> Any:
    if isinstance(bias, dict) and not all(_TOKEN_ID.fullmatch(key) for key in bias):
        raise PydanticCustomError("token_id", "its keys must be token ids")
    return bias


Text = Annotated[str | None, BeforeValidator(_one_text)]
# Engines take one text or several.
Texts = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Number = float | None
Whole = int | None
Flag = StrictBool | None


class Called(Listed):
    """The function that a reply called."""

    name: str
    arguments: str


class Call(Listed):
    """A tool call of a reply."""

    id: str | None = None
    index: int | None = None
    type: Literal["function"] = "function"
    function: Called


class Message(Listed):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Function(Listed):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: Flag = None


class Tool(Listed):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function


class FunctionName(Listed):
    """The name of a function."""

    name: str


class ToolChoice(Listed):
    """The tool that the model must use."""

    type: Literal["function"]
    function: FunctionName


class Schema(Listed):
    """The JSON schema of a reply."""

    name: str
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue] | None, Field(alias="schema")] = None
    strict: Flag = None


class ResponseFormat(Listed):
    """The form of a reply."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None


class StreamOptions(Listed):
    """What a stream contains beside the reply."""

    include_usage: Flag = None
    include_obfuscation: Flag = None
    continuous_usage_stats: Flag = None


class TemplateOptions(Listed):
    """The variables of the chat template that a client may set."""

    enable_thinking: Flag = None
    thinking: Flag = None


class ChatRequest(Listed):
    """The body of a request for a reply."""

    model: str
    messages: Annotated[list[Message], FailFast(), Field(min_length=1)]
    stream: Flag = None
    stream_options: StreamOptions | None = None
    max_tokens: Whole = None
    max_completion_tokens: Whole = None
    temperature: Number = None
    top_p: Number = None
    top_k: Whole = None
    min_p: Number = None
    presence_penalty: Number = None
    frequency_penalty: Number = None
    repetition_penalty: Number = None
    seed: Whole = None
    n: Whole = None
    stop: Texts | None = None
    logit_bias: Annotated[dict[str, float] | None, BeforeValidator(_ids), Field(max_length=MAX_BIASES)] = None
    logprobs: Flag = None
    top_logprobs: Whole = None
    tools: Annotated[list[Tool], FailFast(), Field(default_factory=list)]
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: Flag = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    chat_template_kwargs: TemplateOptions | None = None
    user: str | None = None
