"""Asking served models inside our cluster, as clients do: OpenAI's own client, and curl."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from rig import tiny
from rig.installed import APP, INSTANCE_TYPE, MODEL, Small

_OPENAI = """
import json, sys, openai
url, model, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = openai.OpenAI(base_url=url, api_key="none")
def ask(question):
    said = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=12
    )
    return said.choices[0].message.content.strip()
print(json.dumps([ask(question) for question in questions]))
"""
QUESTIONS, CODES = tiny.questions()[:4], tiny.codes()[:4]
Object = dict[str, Any]


@dataclass(frozen=True)
class Asking:
    """Clients of one serving Workspace, by its Service."""

    small: Small
    name: str = "serve"

    @property
    def address(self) -> str:
        service = self.small.kube.get("service", self.name)["spec"]
        host = service["clusterIP"]
        return f"http://{f'[{host}]' if ':' in host else host}"

    def openai(self, model: str, questions: list[str] = QUESTIONS) -> list[str]:
        """Answers to chat completions, by the official client."""
        argv = (sys.executable, "-c", _OPENAI, f"{self.address}/v1", model, json.dumps(questions))
        done = self.small.machine.run(*argv, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[str] = json.loads(done.stdout)
        return found

    def curl(self, path: str, body: Object | None = None) -> Object:
        """What a route answers."""
        data = ("-d", json.dumps(body)) if body is not None else ()
        argv = ("curl", "-sS", "-m", "60", "-H", "content-type: application/json", *data)
        found: Object = json.loads(self.small.machine.run(*argv, f"{self.address}{path}").stdout)
        return found

    def chat(self, prompt: str) -> str:
        """KAITO's old route."""
        options = {"do_sample": False, "max_new_tokens": 12}
        said = self.curl("/chat", {"prompt": prompt, "generate_kwargs": options})
        return str(said["Result"]).strip()

    def models(self) -> set[str]:
        return {one["id"] for one in self.curl("/v1/models")["data"]}


def by_workspace(name: str = "codes", **more: Any) -> Object:
    return {"source": {"name": name, "workspace": name}, **more}


def by_image(name: str, image: str, **more: Any) -> Object:
    return {"source": {"name": name, "image": image, "imagePullSecrets": ["push"]}, **more}


def serving(*adapters: Object, name: str = "serve", **annotations: str) -> Object:
    """An inference Workspace of the tiny model on the transformers runtime."""
    marks = {key.replace("__", "/").replace("_", "-"): v for key, v in annotations.items()}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "annotations": {"kaito.sh/runtime": "transformers", **marks},
        },
        "resource": {
            "instanceType": INSTANCE_TYPE,
            "labelSelector": {"matchLabels": {"app": APP}},
        },
        "inference": {
            "preset": {
                "name": tiny.MODEL_ID,
                "presetOptions": {"image": MODEL, "imagePullSecrets": ["push"]},
            },
            "adapters": list(adapters),
        },
    }
