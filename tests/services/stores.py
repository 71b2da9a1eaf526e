"""Stores for tests: an S3 server (moto's) and web servers with and without ranges, each in a thread of the test."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

KEY, SECRET = "AKIATEST", "the-secret-of-the-store"


@dataclass
class Bucket:
    """A bucket of an S3 server, looked into and written past wlmctl."""

    url: str
    name: str
    client: Any

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def content(self) -> dict[str, bytes]:
        """All objects by key."""
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {row["Key"]: self.client.get_object(Bucket=self.name, Key=row["Key"])["Body"].read() for row in listed}

    @property
    def uploads(self) -> list[Any]:
        """Uploads that were begun and neither ended nor given up."""
        found: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found

    def options(self, folder: str = "", **storage: Any) -> dict[str, Any]:
        """``transport_options`` of a machine that is this bucket, or a folder of it."""
        login = {"key": {"env": "TEST_S3_KEY"}, "secret": {"env": "TEST_S3_SECRET"}, "endpoint_url": self.url}
        return {"url": f"s3://{self.name}{folder}", "storage_options": {**login, **storage}}

    def toml(self, name: str) -> str:
        """The table of ``wlmctl.toml`` for a machine of that name."""
        return (
            f'[machines.{name}]\ntransport = "fsspec"\n[machines.{name}.transport_options]\nurl = "s3://{self.name}"\n'
            f'[machines.{name}.transport_options.storage_options]\nendpoint_url = "{self.url}"\n'
            'key = {env = "TEST_S3_KEY"}\nsecret = {env = "TEST_S3_SECRET"}\n'
        )


#: The environment in which the references of ``Bucket.options`` lead to a login.
S3_ENV = {"TEST_S3_KEY": KEY, "TEST_S3_SECRET": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def s3_server() -> Iterator[Any]:
    """An S3 server; call what it gives with a name for a new ``Bucket``."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )

    def bucket(name: str) -> Bucket:
        client.create_bucket(Bucket=name)
        return Bucket(url, name, client)

    try:
        yield bucket
    finally:
        client.close()
        server.stop()


@dataclass
class Web:
    """A folder that is served, and what was asked for: method, path and range. While ``is_silent`` none is answered."""

    folder: Path
    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    cut_after_bytes: int | None = None
    password: str = ""
    is_silent: threading.Event = field(default_factory=threading.Event)

    def options(self, **more: Any) -> dict[str, Any]:
        """``transport_options`` of a machine that is this server."""
        return {"url": self.url, **more}


class _Pages(SimpleHTTPRequestHandler):
    """Files whole, folders as pages of links: a server that knows no ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, web: Web, *arguments: Any) -> None:
        self.web = web
        super().__init__(*arguments, directory=str(web.folder))

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self._may():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._may():
            super().do_HEAD()

    def _may(self) -> bool:
        self.web.asked.append((self.command, self.path, self.headers.get("Range", "")))
        while self.web.is_silent.is_set():
            time.sleep(0.01)
        if self.web.password and self.headers.get("Authorization") != self.web.password:
            self.send_error(HTTPStatus.UNAUTHORIZED)
            return False
        return True

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self.web.cut_after_bytes is None:
            super().copyfile(source, outputfile)
        else:
            outputfile.write(source.read(self.web.cut_after_bytes))
            self.close_connection = True


class _Ranges(_Pages):
    """As it is, and ``Range: bytes=N-`` and ``bytes=N-M`` of files."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if found is None or not path.is_file():
            return super().send_head()
        content = path.read_bytes()
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        if first > last:
            self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return None
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        return BytesIO(content[first : last + 1])


@contextmanager
def web_server(folder: Path, *, ranges: bool) -> Iterator[Web]:
    """A web server of ``folder``."""
    web = Web(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges if ranges else _Pages, web))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
