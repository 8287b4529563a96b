"""Progress as Prometheus text on `/metrics`: what the operator and any scraper read while it runs.

The port is KAITO's, 5000. The text format is version 0.0.4 of Prometheus' exposition formats.
Imports no torch.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tuning.progress import Progress

PORT = 5000
_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("tunery_step", "step", "Optimizer steps done."),
    ("tunery_steps", "of", "Optimizer steps of the whole run."),
    ("tunery_progress_percent", "percent", "Share of the steps done, rounded down."),
    ("tunery_epoch", "epoch", "Passes over the data."),
    ("tunery_loss", "loss", "Mean loss per trained token of the last step."),
    ("tunery_eval_loss", "eval_loss", "Loss on the evaluation split."),
    ("tunery_learning_rate", "learning_rate", "Learning rate of the last step."),
    ("tunery_tokens", "tokens", "Tokens seen since the first step."),
    ("tunery_tokens_per_second", "tokens_per_s", "Rate of this process."),
    ("tunery_eta_seconds", "eta_s", "Seconds to the last step."),
    ("tunery_kept_step", "kept_step", "Step of the newest checkpoint that outlives the pod."),
)


def exposition(now: Progress) -> str:
    """The gauges of one state; what is unknown is left out, not sent as zero."""
    lines = []
    for name, field, meaning in _GAUGES:
        value = getattr(now, field)
        if value is not None:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]
    return "\n".join(lines) + "\n"


class MetricsServer:
    """A sink that answers `GET /metrics`; a context manager that frees the port again.

    `port` 0 takes a free one, told in `.port`; `host` "" is every interface, as a pod needs it.
    Raises OSError when the port is taken.
    """

    def __init__(self, port: int = PORT, host: str = "127.0.0.1") -> None:
        self._text = exposition(Progress(0, 0)).encode()
        self._server = ThreadingHTTPServer((host, port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def text(self) -> bytes:
        return self._text

    def progress(self, now: Progress) -> None:
        self._text = exposition(now).encode()

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(metrics: MetricsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing must not keep its thread

        def do_GET(self) -> None:
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(metrics.text)))
            self.end_headers()
            self.wfile.write(metrics.text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
