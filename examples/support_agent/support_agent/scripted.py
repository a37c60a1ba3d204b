"""A model that follows a script, so that the demo and the tests need no key and no network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import ModelResponse, Usage
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

Call = tuple[str, dict[str, Any]]


class ScriptedModel(Model):
    """Makes the calls of the script one by one, then answers with all that it was given to read."""

    def __init__(self, calls: tuple[Call, ...] = (), say: Callable[[str], str] = str) -> None:
        self.calls = calls
        self.say = say
        self.prompts: list[str] = []

    async def get_response(
        self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any
    ) -> ModelResponse:
        items = [{"role": "user", "content": input}] if isinstance(input, str) else list(input)
        done = [item for item in items if item.get("type") == "function_call_output"]
        if len(done) < len(self.calls):
            name, arguments = self.calls[len(done)]
            call = ResponseFunctionToolCall(
                arguments=json.dumps(arguments), call_id=f"call-{len(done)}", name=name, type="function_call"
            )
            return ModelResponse(output=[call], usage=Usage(), response_id=None)
        prompt = "\n".join(
            [str(system_instructions), str(items[0]["content"]), *(str(d["output"]) for d in done)]
        )
        self.prompts.append(prompt)
        text = ResponseOutputText(annotations=[], text=self.say(prompt), type="output_text")
        message = ResponseOutputMessage(
            id="message", content=[text], role="assistant", status="completed", type="message"
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError("the agent does not stream")
