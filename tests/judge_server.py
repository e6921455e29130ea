"""A real chat-completions server on this machine, as well-behaved or as broken as a test asks."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

YES, NO = "{'pred': 'yes', 'score': 4.8}", '{"pred": "no", "score": 1}'
Behaviour = Callable[[str, int], "str | int | RawReply"]
RawReply = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class JudgeServer:
    """Answers each prediction as `behaviour(prediction, number_of_try)` says.

    A text is the judge's reply, a number above 0 the HTTP status of a failure, 0 closes the
    connection, -1 never answers, -2 sends HTTP 200 with something that is no chat completion, -3
    sends a good answer, but one byte every tenth of a second, -4 sends spaces without end. A
    tuple is sent as it stands.
    """

    def __init__(self) -> None:
        self.behaviour: Behaviour = truth
        self.tries: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.num_at_once = self.most_at_once = self.num_flood_bytes = 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        match = re.search(r"Predicted Answer: (.*)", body["messages"][1]["content"])
        assert match is not None and handler.path == "/v1/chat/completions"
        with self.lock:
            self.bodies.append(body)
            self.keys.add(handler.headers["Authorization"])
            self.tries[match[1]] += 1
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)
            number = self.tries[match[1]]
        action = self.behaviour(match[1], number)
        if action == -1:
            self.closing.wait(30)
        with self.lock:
            self.num_at_once -= 1
        if action in (0, -1):
            handler.close_connection = True
        elif action == -3:
            self.trickle(handler)
        elif action == -4:
            self.flood(handler)
        elif isinstance(action, tuple):
            self.send_bytes(handler, *action)
        elif action == -2:
            self.send(handler, 200, {"hello": "world"})
        elif isinstance(action, int):
            self.send(handler, action, {"error": {"message": f"status {action}", "code": None}})
        else:
            message = {"role": "assistant", "content": action}
            self.send(handler, 200, {"choices": [{"index": 0, "message": message}]})

    def trickle(self, handler: BaseHTTPRequestHandler) -> None:
        message = {"role": "assistant", "content": YES}
        data = b" " * 20 + json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        try:
            for number in range(20):
                handler.wfile.write(data[number : number + 1])
                self.closing.wait(0.1)
            handler.wfile.write(data[20:])
        except OSError:
            handler.close_connection = True  # the client has given up, as it should

    def flood(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.close_connection = True
        try:
            while not self.closing.is_set():
                self.num_flood_bytes += handler.wfile.write(b" " * 65536)
        except OSError:
            return  # the client has given up, as it should

    def send(self, handler: BaseHTTPRequestHandler, status: int, value: object) -> None:
        self.send_bytes(handler, status, {}, json.dumps(value).encode())

    @staticmethod
    def send_bytes(
        handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], data: bytes
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        try:
            handler.wfile.write(data)
        except OSError:
            handler.close_connection = True

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


def truth(prediction: str, number: int) -> str:
    """The good judge: what starts with "right" is right."""
    return YES if prediction.startswith("right") else NO
