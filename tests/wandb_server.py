"""A W&B server on loopback, as much of it as the real wandb asks for when it sends runs."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["WandbServer", "closed_port", "wandb_server"]


@dataclass
class Sent:
    """What a run has on the server.

    Attributes
    ----------
    rows
        Rows of its history by their place; a row that is sent again replaces the one before.
    upserted
        Its name, group, job type and so on, as they were last sent.
    summary, files
        Its summary, and the content of its files by their names.
    ended
        Its exit code, once it has ended.
    """

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    upserted: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """Its rows less what W&B and the tables add; there is no gap."""
        assert list(self.rows) == list(range(len(self.rows)))
        added = ("_", "evals", "arms")
        return [
            {k: v for k, v in row.items() if not k.startswith(added)} for row in self.rows.values()
        ]


class WandbServer:
    """The server.

    Attributes
    ----------
    runs
        By their ids.
    does
        answer, refuse (the key) or hang.
    rows_until_it_hangs
        It takes so many rows of a run and answers nothing more, not even that it has them.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.runs: dict[str, Sent] = defaultdict(Sent)
        self.does = "answer"
        self.rows_until_it_hangs: int | None = None
        self.released = threading.Event()

    def graphql(self, operation: str, given: dict[str, Any]) -> Any:
        """The answer to a query or a mutation; None if it is not one of the few known ones."""
        if operation == "UpsertBucket":
            run = self.runs[given["name"]]
            new = not run.upserted
            run.upserted |= {key: value for key, value in given.items() if value is not None}
            entity = {"id": "e", "name": "team"}
            project = {"id": "p", "name": given["project"], "entity": entity}
            bucket = {"id": "b", "name": given["name"], "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": new}}
        if operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": f"{self.url}/upload/{given['run']}/{name}"}
                for name in given["files"]
            ]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if operation == "RunResumeStatus":
            if given["name"] not in self.runs:
                return {"model": {"id": "m", "bucket": None}}
            run = self.runs[given["name"]]
            bucket = {
                "name": given["name"],
                "historyLineCount": len(run.rows),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(run.rows[len(run.rows) - 1])]),
                "eventsTail": "[]",
                "summaryMetrics": json.dumps(run.summary),
                "config": "{}",
                "tags": [],
                "wandbConfig": "{}",
            }
            return {"model": {"id": "m", "bucket": bucket}}
        return None

    def stream(self, run: Sent, sent: dict[str, Any]) -> None:
        """Take rows, a summary and the end of a run."""
        for name, chunk in sent.get("files", {}).items():
            lines = [json.loads(line) for line in chunk["content"]]
            if name == "wandb-history.jsonl":
                run.rows |= dict(enumerate(lines, start=chunk["offset"]))
            elif name == "wandb-summary.json":
                run.summary = lines[-1]
        if sent.get("complete"):
            run.ended = sent["exitcode"]
        if len(run.rows) >= (self.rows_until_it_hangs or len(run.rows) + 1):
            self.does = "hang"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ours: WandbServer

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_PUT(self) -> None:
        if self.ours.does == "answer":
            _, _, run, name = self.path.split("/", 3)
            self.ours.runs[run].files[name] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        content = {"errors": [{"message": "user is not logged in"}]}
        if self.ours.does == "answer":
            content = self._received(json.loads(self._body()))
        self._answer(401 if self.ours.does == "refuse" else 200, content)

    def _received(self, told: Any) -> dict[str, Any]:
        if self.path != "/graphql":  # /files/ENTITY/PROJECT/RUN/file_stream
            self.ours.stream(self.ours.runs[self.path.split("/")[4]], told)
            return {}
        found = re.match(r"\s*(?:query|mutation) (\w+)", told["query"])
        assert found is not None
        data = self.ours.graphql(found[1], told.get("variables") or {})
        errors = [] if data is not None else [{"message": f"{found[1]} is not known"}]
        return {"data": data, "errors": errors}

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, code: int, content: Any) -> None:
        if self.ours.does == "hang":
            self.ours.released.wait()
            self.close_connection = True
            return
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is not worth a traceback."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A server that runs in a thread of this process."""
    handler = type("Handler", (_Handler,), {})
    with _Listening(("127.0.0.1", 0), handler) as listening:
        ours = WandbServer(listening.server_address[1])
        handler.ours = ours  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield ours
        finally:
            ours.released.set()
            listening.shutdown()
            thread.join()


def closed_port() -> str:
    """The address of a server that is not there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        return f"http://127.0.0.1:{listening.server_address[1]}"
