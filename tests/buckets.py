"""A bucket on this machine that speaks as much of S3, over plain http, as attachments need."""

from __future__ import annotations

import re
import threading

from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response


class Bucket:
    """Named ``photos``. It can be stopped and started again at the same address, and told to refuse. Always stop it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refuses: tuple[int, str] | None = None  # status and code of every answer
        self._port = 0
        self._server: BaseWSGIServer | None = None
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """Where it is, as an operator says so."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
        }

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self._port, Request.application(self._answer), threaded=True)
        self._port = self._server.port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: Request) -> Response:
        if self.refuses is not None:
            return _error(*self.refuses)
        bucket, _, name = request.path[1:].partition("/")
        if bucket != "photos":
            return _error(404, "NoSuchBucket")
        if request.method == "PUT":
            self.files[name] = request.get_data()
            return Response(headers={"ETag": '"1"'})
        if request.method == "POST":  # ?delete
            gone = re.findall(r"<Key>(.*?)</Key>", request.get_data(as_text=True))
            for key in gone:
                self.files.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in gone)
            return Response(f"<DeleteResult>{deleted}</DeleteResult>")
        if name not in self.files:
            return _error(404, "NoSuchKey")
        written = {"ETag": '"1"', "Last-Modified": "Tue, 24 Nov 2026 09:00:00 GMT"}
        return Response(self.files[name], headers=written)


def _error(status: int, code: str) -> Response:
    return Response(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)
