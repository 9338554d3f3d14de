"""Turn the body of a client's request into the body that the engine gets, or refuse it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from babelguard.errors import visible
from babelguard.files.parsing import json_fault, parse_json, unique_keys
from babelguard.proxy.breaking import Breaker
from babelguard.proxy.defended import Defended
from babelguard.proxy.fields import UNLISTED, ChatRequest
from babelguard.proxy.refusal import Refused

# The strongest bias of the protocol, in logits.
NEVER = -100.0
# Names of types that pydantic adds to the place of a fault.
_TYPES = frozenset({"bool", "dict", "float", "int", "list", "str"})


@dataclass(frozen=True)
class Forwarded:
    """A request as the engine gets it.

    Attributes:
        body: The body, as JSON.
        broken: The number of placeholders that were broken up in it.
    """

    body: bytes
    broken: int


def forwarded(body: bytes, model: Defended) -> Forwarded:
    """Return the request that the engine gets.

    Only listed fields are taken over, so that the engine never sees what this function did not check.

    Args:
        body: The body of the client's request.
        model: The defended model.

    Raises:
        Refused: If the body is not a valid request, has a field that is not forwarded, or names another model.
    """
    request = _validated(_parsed(body))
    if request.model != model.name:
        raise Refused(404, f"There is no model '{visible(request.model[:80])}'; use '{model.name}'.", "model")
    if request.messages[-1].role == "assistant":
        raise Refused(
            403,
            "The last message is a reply, which the model would continue; end the chat with another message.",
            "messages",
        )
    if closed := sorted(request.model_fields_set & model.refused):
        raise Refused(403, f"The field '{closed[0]}' is not forwarded; leave it out.", closed[0])
    _check_bias(request, model)
    breaker = Breaker(model.placeholders)
    given: dict[str, Any] = request.model_dump(exclude_unset=True, by_alias=True, exclude={"model"})
    try:
        broken = breaker.value(given)
    except ValueError as error:
        raise Refused(
            400, f"The arguments of a tool call cannot be read ({error}); correct them.", "messages"
        ) from None
    complete = model.complete(broken) | {"model": model.upstream_name}
    if model.suppress:
        complete["logit_bias"] = complete.get("logit_bias", {}) | {str(index): NEVER for index in model.token_ids}
    text = json.dumps(complete, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Forwarded(text.encode("utf-8"), breaker.count)


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body.decode("utf-8"), pairs=unique_keys)
    except UnicodeDecodeError:
        raise Refused(400, "The body is not UTF-8; send JSON in UTF-8.") from None
    except ValueError as error:
        raise Refused(400, f"The body cannot be read ({visible(json_fault(error)[:200])}); correct it.") from None


def _validated(value: Any) -> ChatRequest:
    """Check the fields of a request.

    Raises:
        Refused: With status 403 for what is not forwarded, otherwise with status 400.
    """
    try:
        return ChatRequest.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        unlisted = [fault for fault in faults if fault["type"] in ("extra_forbidden", UNLISTED)]
        fault = (unlisted or faults)[0]
        name = _path(fault["loc"], unlisted=fault["type"] == "extra_forbidden")
        if fault["type"] == "extra_forbidden":
            raise Refused(403, f"The field '{name}' is not forwarded; leave it out.", name) from None
        if fault["type"] == UNLISTED:
            sentence = f"The field '{name}' is not forwarded, because {fault['msg']}; send texts only."
            raise Refused(403, sentence, name) from None
        why = "it must be an object" if fault["type"] == "model_type" else visible(fault["msg"][:200]).rstrip(".")
        where = f"The field '{name}'" if name else "The body"
        raise Refused(400, f"{where} is not valid ({why[:1].lower()}{why[1:]}); correct it.", name or None) from None


def _path(location: tuple[int | str, ...], *, unlisted: bool) -> str:
    """Write the place of a fault, such as `messages[0].name`, without the names of Python types that pydantic adds.

    Args:
        location: The place as pydantic writes it.
        unlisted: Whether the last part is the name of a field that is not listed, which is kept as it is.
    """
    last = len(location) - 1
    text = ""
    for number, part in enumerate(location):
        if isinstance(part, int):
            text += f"[{part}]"
        elif (unlisted and number == last) or (part.islower() and part.isidentifier() and part not in _TYPES):
            text += f".{part}"
    return visible(text.removeprefix(".")[:100])


def _check_bias(request: ChatRequest, model: Defended) -> None:
    """Check that the client does not raise the probability of a placeholder.

    Raises:
        Refused: If it gives a bias to one.
    """
    for index in model.token_ids:
        if str(index) in (request.logit_bias or {}):
            raise Refused(
                403, f"The token id {index} in 'logit_bias' belongs to the safety prompt; leave it out.", "logit_bias"
            )
