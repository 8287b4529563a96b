"""vLLM's own API beside us in the pod: which adapters it has, load one, unload one, ask one.

Used by live.py. The routes that load are vLLM's `/v1/load_lora_adapter` and
`/v1/unload_lora_adapter` (VLLM_ALLOW_RUNTIME_LORA_UPDATING=1); serving/chat lets nobody outside the
pod call them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

_LOOK_S, _LOAD_S, _ASK_S = 5.0, 120.0, 60.0
_LONGEST = 300


class Away(Exception):
    """The server does not answer: it is loading the model, or ends."""


class Server:
    """`url` is the pod's own; `key` is the user's, of a server that asks for one."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy is for the outside
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def versions(self) -> frozenset[str]:
        """The adapters that are loaded, as the server knows them. Raises Away."""
        answer = self._send("GET", "/v1/models?versions=true", None, _LOOK_S)
        if answer.status_code != requests.codes.ok:
            raise Away(_sentence(answer))
        return frozenset(card["id"] for card in answer.json()["data"] if card.get("parent"))

    def load(self, version: str, folder: Path) -> str | None:
        """Load it, and have it answer one token; what is wrong, else None. Raises Away."""
        body = {"lora_name": version, "lora_path": str(folder)}
        answer = self._send("POST", "/v1/load_lora_adapter", body, _LOAD_S)
        if answer.status_code != requests.codes.ok:
            return _sentence(answer)
        asked = {"model": version, "prompt": "Hello", "max_tokens": 1}
        answer = self._send("POST", "/v1/completions", asked, _ASK_S)
        return None if answer.status_code == requests.codes.ok else _sentence(answer)

    def unload(self, version: str) -> None:
        """Its name is known no more; what it answers at this moment is answered. Raises Away."""
        self._send("POST", "/v1/unload_lora_adapter", {"lora_name": version}, _LOOK_S)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, within_s: float
    ) -> requests.Response:
        try:
            return self._session.request(method, self._url + path, json=body, timeout=within_s)
        except requests.RequestException as error:
            raise Away(type(error).__name__) from error


def _sentence(answer: requests.Response) -> str:
    """What the server says is wrong."""
    try:
        said = str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        said = answer.text
    return f"the server says {answer.status_code}: {' '.join(said.split())[:_LONGEST]}"
