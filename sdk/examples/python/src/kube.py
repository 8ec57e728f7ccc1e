"""A client of the API server through its unix socket: enough to list, watch and patch."""

import http.client
import json
import socket
import threading
import urllib.parse

TIMEOUT_SECONDS = 30
# A watch ends by itself after this time, and is resumed.
WATCH_SECONDS = 300


class Error(Exception):
    """The server's answer where it is not the one that was hoped for: a Status of Kubernetes."""

    def __init__(self, status):
        super().__init__(status.get("message") or status)
        self.code = status.get("code")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Requests with the identity of the plugin. A watch and other requests may go on at once."""

    def __init__(self, api, user_agent):
        """api is a base_pb2.Connection."""
        if not api.socket:
            raise ValueError("this plugin speaks to the API server through a unix socket, and was given none")
        self._socket = api.socket
        self._headers = {
            "Authorization": "Bearer " + api.bearer_token,
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
        self._lock = threading.Lock()
        self._open = set()
        self._closed = False

    def close(self):
        """Ends what is under way, with an OSError there. Nothing more can be asked."""
        with self._lock:
            self._closed = True
            for s in self._open:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the server was first

    def get(self, path, **query):
        return self._once("GET", _with(path, query))

    def merge_patch(self, path, patch):
        return self._once("PATCH", path, patch, "application/merge-patch+json")

    def watch(self, path, **query):
        """Yields events, as dicts with type and object, until the server ends the watch."""
        query.update(watch="true", allowWatchBookmarks="true", timeoutSeconds=WATCH_SECONDS)
        with _Asking(self, "GET", _with(path, query), None, {}, WATCH_SECONDS + TIMEOUT_SECONDS) as response:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Error(event["object"])
                yield event

    def _once(self, method, path, body=None, content_type=None):
        headers = {"Content-Type": content_type} if content_type else {}
        data = json.dumps(body).encode() if body is not None else None
        with _Asking(self, method, path, data, headers, TIMEOUT_SECONDS) as response:
            return json.load(response)


class _Asking:
    """One request on a connection of its own, for as long as its answer is read."""

    def __init__(self, client, method, path, data, headers, timeout):
        self._client = client
        self._request = (method, path, data, {**client._headers, **headers})
        self._connection = _Connection(client._socket, timeout)

    def __enter__(self):
        client, connection = self._client, self._connection
        try:
            connection.connect()
            with client._lock:
                if client._closed:
                    raise ConnectionAbortedError("the client is closed")
                client._open.add(connection.sock)
            self._held = connection.sock
            connection.request(*self._request)
            response = connection.getresponse()
            if response.status >= 300:
                raise Error(_status(response))
            return response
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        with self._client._lock:
            self._client._open.discard(getattr(self, "_held", None))
        self._connection.close()


def _status(response):
    raw = response.read()
    try:
        status = json.loads(raw)
        if status.get("kind") == "Status":
            return status
    except (ValueError, AttributeError):
        pass
    return {"code": response.status, "message": f"{response.status} {response.reason}: {raw[:200]!r}"}


def _with(path, query):
    return path + "?" + urllib.parse.urlencode(query) if query else path
