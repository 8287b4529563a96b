"""`transformers serve` with serving/chat around it: the library's own server, six lines more.

Its app is made inside a private function that takes no middleware (transformers 5.24), so that
function is given one here; tests/serving/test_transformers.py asks a real server. Run in the folder
that `prepare` wrote, so that the model's name is the name of a folder there.
"""

from __future__ import annotations

from typing import Any

from serving.chat import Chat


def serve(model: str, host: str, port: int, device: str = "auto", dtype: str = "auto") -> None:
    """Load the model and answer until a signal ends it."""
    from transformers.cli import serve as command
    from transformers.cli.serving import server

    build = server.build_server

    def with_chat(*arguments: Any, **options: Any) -> Any:
        app = build(*arguments, **options)
        app.add_middleware(Chat)
        return app

    server.build_server = with_chat
    command.Serve(force_model=model, host=host, port=port, device=device, dtype=dtype)
