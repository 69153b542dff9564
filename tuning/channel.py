"""The channel between a chief and workers on other machines: JSON over HTTP, neither encrypted nor authenticated."""

import http.client
import importlib.metadata
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..apps.core.errors import ElmanError, UsageError

CALLS = ("next", "report", "end", "lost")
PATIENCE = 600.0  # seconds that a worker waits for a chief that does not answer: it may be restarted meanwhile
LARGEST = 1 << 24


def versions() -> dict:
    """What has to be the same for two machines' scores to be comparable."""
    import keras

    names = ("elman", "keras", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {**found, "backend": keras.backend.backend()}


def address(text: str, option: str) -> tuple[str, int]:
    """HOST and PORT of `HOST:PORT`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise UsageError(f"{option}: expected HOST:PORT, received '{text}'")
    return host.strip("[]"), int(port)


class Server:
    """Takes a port at once; from `start` on answers workers' calls with a Search's methods, from threads of its own."""

    def __init__(self, host: str, port: int):
        self.calls = calls = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                status, answer = _answer(calls, self.path, self._body())
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def _body(self) -> bytes:
                length = int(self.headers.get("Content-Length") or 0)
                return self.rfile.read(length) if length <= LARGEST else b""

            def log_message(self, *args):
                """Nothing: the table shows what happens."""

        try:
            self.server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise UsageError(f"--chief {host}:{port}: {error.strerror or error}; choose another port") from None
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def start(self, search) -> None:
        self.calls |= {name: getattr(search, name) for name in CALLS}
        self.calls["join"] = lambda theirs: _join(search.sweep, theirs)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        if self.calls:
            time.sleep(2.0)  # workers ask once more, and hear that it is over
            self.server.shutdown()
        self.server.server_close()


def _answer(calls: dict, path: str, body: bytes) -> tuple[int, dict]:
    call = calls.get(path.removeprefix("/"))
    if call is None:
        return 404, {"error": f"no such call: {path}"}
    try:
        return 200, call(**json.loads(body))
    except (TypeError, ValueError, KeyError, ElmanError) as error:
        return 409, {"error": str(error)}


def _join(sweep, theirs: dict) -> dict:
    ours = versions()
    differing = [f"{name} {theirs.get(name)} (chief: {version})" for name, version in ours.items()
                 if theirs.get(name) != version]  # fmt: skip
    if differing:
        raise ElmanError(f"this worker has {', '.join(differing)}; install what the chief has")
    return {"application": sweep.application, "space": sweep.space}


class Client:
    """A Search on another machine: the same methods, and `join`."""

    def __init__(self, host: str, port: int, patience: float = PATIENCE):
        self.host, self.port, self.patience = host, port, patience

    def join(self) -> dict:
        """Application and space of the sweep; ElmanError where this worker's versions differ from the chief's."""
        return self._call("join", theirs=versions())

    def next(self, worker: str) -> dict:
        return self._call("next", worker=worker)

    def report(self, name: str, lease: str, worker: str, curve: list | None = None) -> dict:
        try:
            return self._call("report", 0.0, name=name, lease=lease, worker=worker, curve=curve)
        except ConnectionError:  # the trial goes on; its end will be told when the chief is back
            return {"stop": ""}

    def end(self, name: str, result: dict) -> dict:
        return self._call("end", name=name, result=result)

    def lost(self, name: str, lease: str, message: str) -> dict:
        return self._call("lost", name=name, lease=lease, message=message)

    def _call(self, call: str, patience: float | None = None, **arguments) -> dict:
        until = time.monotonic() + (self.patience if patience is None else patience)
        while True:
            try:
                return self._post(call, json.dumps(arguments).encode())
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() >= until:
                    reason = getattr(error, "strerror", None) or error
                    kind = ConnectionError if patience is not None else ElmanError
                    raise kind(f"chief {self.host}:{self.port} does not answer: {reason}") from None
            time.sleep(1.0)

    def _post(self, call: str, body: bytes) -> dict:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("POST", f"/{call}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ElmanError(f"chief {self.host}:{self.port}: {answer.get('error', response.reason)}")
        return answer
