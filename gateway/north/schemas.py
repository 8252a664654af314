"""The contract as documents: a JSON Schema for each message, and one AsyncAPI 3 description.

``documents`` is the only writer of docs/asyncapi.json and docs/schemas/; a test keeps the files
equal to it.  ``python -m gateway.north.schemas`` writes them anew into the current directory.

Kept apart from the models because the daemon never needs it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from gateway.north.completeness import Completeness
from gateway.north.contract import (
    VERSION,
    Ack,
    Hello,
    Inventory,
    Message,
    Results,
    Status,
)
from gateway.north.contract_money import Digest, Journal
from gateway.north.contract_supply import Supply
from gateway.north.parts import command_of, events
from gateway.north.readings import Readings

ASYNCAPI = "docs/asyncapi.json"
SCHEMAS = "docs/schemas"


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic: who sends what there."""

    kind: str
    action: Literal["send", "receive"]
    """As the gateway sees it."""
    model: type[Message]
    summary: str
    retained: bool = False


CHANNELS = (
    Channel("readings", "send", Readings, "What was just read; after an outage newest first."),
    Channel("history", "send", Readings, "What could not be sent when it was fresh; oldest first."),
    Channel("events", "send", events(), "What the head-end should know."),
    Channel("results", "send", Results, "How far each command has come."),
    Channel("completeness", "send", Completeness, "How complete a day's freezes are; daily."),
    Channel("journal", "send", Journal, "Every transaction of the journal, as it was posted."),
    Channel("digest", "send", Digest, "The books at a day's end, signed; daily.", retained=True),
    Channel(
        "supply", "send", Supply, "How well supply was cut and restored; daily.", retained=True
    ),
    Channel("status", "send", Status, "Online or offline; also the will.", retained=True),
    Channel("inventory", "send", Inventory, "Which meters and points are read.", retained=True),
    Channel("hello", "send", Hello, "After each connect: what is open on our side."),
    Channel("commands", "receive", command_of(), "What the head-end wants done."),
    Channel("acks", "receive", Ack, "Watermarks: what the head-end keeps."),
)


def documents() -> dict[str, str]:
    """Path below the repository's root -> text, of every generated document."""
    texts = {f"{SCHEMAS}/{name}.json": _dump(_schema(name)) for name in _models()}
    return {ASYNCAPI: _dump(_asyncapi()), **texts}


def _models() -> dict[str, type[Message]]:
    return {channel.model.__name__.lower(): channel.model for channel in CHANNELS}


def _schema(name: str) -> dict[str, JsonValue]:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **_models()[name].model_json_schema(mode="validation")}


def _asyncapi() -> dict[str, JsonValue]:
    gateway: dict[str, JsonValue] = {
        "description": "Gateway id: 1 to 32 of A-Z a-z 0-9 and the hyphen; also the MQTT client id."
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "taiqu",
            "version": VERSION,
            "description": (
                "Messages between a taiqu gateway and the head-end over MQTT 3.1.1 or 5. QoS 1: "
                "each numbered message arrives at least once; (gateway, epoch, lane, seq) tells "
                "repeats and gaps."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {
            channel.kind: {
                "address": f"taiqu/{VERSION}/{{gateway}}/{channel.kind}",
                "title": channel.summary,
                "parameters": {"gateway": gateway},
                "messages": {
                    channel.kind: {"$ref": f"#/components/messages/{channel.model.__name__}"}
                },
            }
            for channel in CHANNELS
        },
        "operations": {channel.kind: _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {
                model.__name__: {
                    "summary": (model.__doc__ or "").splitlines()[0],
                    "payload": {"$ref": f"./schemas/{name}.json"},
                }
                for name, model in _models().items()
            }
        },
    }


def _operation(channel: Channel) -> dict[str, JsonValue]:
    binding: dict[str, JsonValue] = {"qos": 1, "bindingVersion": "0.2.0"}
    if channel.action == "send":
        binding["retain"] = channel.retained
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.kind}"},
        "summary": channel.summary,
        "bindings": {"mqtt": binding},
    }


def _dump(document: dict[str, JsonValue]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(root: Path) -> None:
    """Write every document below ``root``."""
    for path, text in documents().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path())
