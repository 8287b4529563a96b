"""Clients that ask a served model without a pause, from inside the cluster's network.

Run by its own process, which needs nothing but Python: `python load.py URL MODEL SECONDS CLIENTS`
with the prompt on stdin. Prints one JSON list: when each request began, its status, what was said.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request

LIMIT_S = 60


def ask(url: str, model: str, prompt: str) -> tuple[int, str]:
    """Status and text; 0 when the connection broke."""
    body = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)["choices"][0]["text"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def main(url: str, model: str, seconds: str, clients: str) -> None:
    prompt, until = sys.stdin.read(), time.time() + float(seconds)
    asked: list[tuple[float, int, str]] = []

    def client() -> None:
        while time.time() < until:
            began = time.time()
            asked.append((began, *ask(url, model, prompt)))

    threads = [threading.Thread(target=client) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(sorted(asked)))


if __name__ == "__main__":
    main(*sys.argv[1:])
