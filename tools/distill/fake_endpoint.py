"""A FAKE teacher endpoint on loopback: it knows the answers, so that a week can be simulated."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

PROSE = "That is a good question, and it depends."


class FakeEndpoint:
    """Answers a chat's last turn from a table; every `nonsense_every`th answer is prose."""

    def __init__(self, answers: Mapping[str, str], nonsense_every: int = 0) -> None:
        """Take the answers; `none` is said of what is not among them."""
        self.asked = 0
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = str(body["messages"][-1]["content"])
                outer.asked += 1
                odd = nonsense_every and outer.asked % nonsense_every == 0
                self._stream(PROSE if odd else answers.get(text, "none"))

            def _stream(self, said: str) -> None:
                choice = {"index": 0, "delta": {"content": said}, "finish_reason": None}
                end = {"index": 0, "delta": {}, "finish_reason": "stop"}
                usage = {"prompt_tokens": 20, "completion_tokens": 4}
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for part in (
                    {"choices": [choice], "model": "fake"},
                    {"choices": [end], "model": "fake"},
                    {"choices": [], "usage": usage},
                ):
                    self.wfile.write(b"data: " + json.dumps(part).encode() + b"\n\n")
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

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
