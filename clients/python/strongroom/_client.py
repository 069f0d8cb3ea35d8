"""What the generated operations stand on: sending, decoding, raising."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import json as jsonlib
import os
import random
import re
import ssl
import sys
import threading
import time
import types
import typing
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, BinaryIO, Generic, TypeVar

T = TypeVar("T")

# What an answer that is kept in memory may have; files and exports are streams.
MAX_ANSWER = 256 << 20
MAX_PROBLEM = 1 << 20
BLOCK = 1 << 16


class Unset:
    """Left out: other than None, which is sent as null."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET = Unset()


class Secret:
    """A token or a password: prints as [secret], and reveal() gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "[secret]"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> typing.NoReturn:
        raise TypeError("a secret is not pickled")


# Errors.


@dataclasses.dataclass(frozen=True, slots=True)
class Detail:
    """One place in a request that is wrong."""

    pointer: str
    code: str
    detail: str = ""


class StrongroomError(Exception):
    """Whatever this package raises."""


class Unreachable(StrongroomError):
    """The server could not be reached, or the connection broke off."""


class Unexpected(StrongroomError):
    """The server answered as Strongroom does not."""


class Problem(StrongroomError):
    """The server refused. code is stable; the other words may change."""

    def __init__(self, status: int, code: str, detail: str, request_id: str, errors: Sequence[Detail]) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = list(errors)
        places = "".join(f"; {e.pointer or 'the whole'}: {e.detail or e.code}" for e in self.errors)
        super().__init__(f"{status} {code}: {detail}{places} ({request_id})")


class Malformed(Problem):
    """400: the syntax of the request is wrong."""


class Unauthenticated(Problem):
    """401: no credential, or one that is not valid any more."""


class Denied(Problem):
    """403: the role does not allow it here."""


class NotFound(Problem):
    """404: it is not there, or not visible."""


class Conflict(Problem):
    """409: it contradicts what is there."""


class Stale(Problem):
    """412: if_match is not the newest version."""


class TooLarge(Problem):
    """413: more than the limit."""


class UnsupportedMedia(Problem):
    """415: another media type than the operation takes."""


class Invalid(Problem):
    """422: well-formed, and not what the schema or the rules allow."""


class PreconditionRequired(Problem):
    """428: a change without if_match."""


class TooMany(Problem):
    """429: too many at once; wait."""


class Internal(Problem):
    """500: report the request_id."""


class Unavailable(Problem):
    """503: try again."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: Malformed,
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    409: Conflict,
    412: Stale,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Invalid,
    428: PreconditionRequired,
    429: TooMany,
    500: Internal,
    503: Unavailable,
}


# JSON that keeps its digits.


def _integer(text: str) -> int | Decimal:
    # Python refuses to read an int of thousands of digits; a Decimal keeps them.
    return int(text) if len(text) < 4000 else Decimal(text)


def _constant(name: str) -> typing.NoReturn:
    raise ValueError(f"{name} is not JSON")


def loads(text: bytes | str) -> Any:
    """Read JSON; a number with a fraction or an exponent becomes a Decimal."""
    return jsonlib.loads(text, parse_float=Decimal, parse_int=_integer, parse_constant=_constant)


def dumps(value: Any) -> str:
    """Write JSON; a Decimal keeps its digits."""
    out: list[str] = []
    _write(out, value)
    return "".join(out)


def _write(out: list[str], value: Any) -> None:
    if value is None or isinstance(value, (bool, str)):
        out.append(jsonlib.dumps(value, ensure_ascii=False))
    elif isinstance(value, int):
        out.append(_digits(value))
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("a number in JSON is finite")
        out.append(str(value))
    elif isinstance(value, float):
        out.append(jsonlib.dumps(value, allow_nan=False))
    elif isinstance(value, Secret):
        out.append(jsonlib.dumps(value.reveal(), ensure_ascii=False))
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        out.append(jsonlib.dumps(value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {f.name.removesuffix("_"): getattr(value, f.name) for f in dataclasses.fields(value)}
        _write(out, {name: v for name, v in members.items() if v is not None})
    elif isinstance(value, Mapping):
        out.append("{")
        first = True
        for name, v in value.items():
            if not isinstance(name, str):
                raise TypeError("a name in JSON is text")
            if isinstance(v, Unset):
                continue
            out.append(("" if first else ",") + jsonlib.dumps(name, ensure_ascii=False) + ":")
            _write(out, v)
            first = False
        out.append("}")
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        out.append("[")
        for i, v in enumerate(value):
            if i:
                out.append(",")
            _write(out, v)
        out.append("]")
    else:
        raise TypeError(f"JSON has no form for {type(value).__name__}")


def _digits(value: int) -> str:
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
    if limit and value.bit_length() > limit * 3:
        raise ValueError("the number is too long")
    return str(value)


# Typed answers.


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(kind: Any, value: Any, where: str = "") -> Any:
    """Make a value of kind; what a newer server adds is left alone."""
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return decode(next(a for a in typing.get_args(kind) if a is not type(None)), value, where)
    if origin is typing.Literal:
        # A newer server may know more words than this client.
        kind = type(typing.get_args(kind)[0])
    if origin is list:
        if not isinstance(value, list):
            raise Unexpected(f"{where or 'the answer'} is no list")
        (item,) = typing.get_args(kind)
        return [decode(item, v, where) for v in value]
    if origin is dict:
        if not isinstance(value, dict):
            raise Unexpected(f"{where or 'the answer'} is no object")
        _, item = typing.get_args(kind)
        return {name: decode(item, v, where) for name, v in value.items()}
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise Unexpected(f"{where or 'the answer'} is no object")
        hints = _hints(kind)
        members = {}
        for f in dataclasses.fields(kind):
            name = f.name.removesuffix("_")  # from_ stands for from
            at = f"{kind.__name__}.{name}"
            if name in value:
                members[f.name] = decode(hints[f.name], value[name], at)
            elif f.default is dataclasses.MISSING:
                raise Unexpected(f"the answer lacks {at}")
        return kind(**members)
    if kind is datetime:
        if not isinstance(value, str):
            raise Unexpected(f"{where} is no time")
        return _time(value, where)
    if kind is Secret:
        return Secret(decode(str, value, where))
    if kind is Decimal:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise Unexpected(f"{where} is no number")
        return Decimal(value)
    if kind is int and isinstance(value, bool) or not isinstance(value, kind):
        raise Unexpected(f"{where or 'the answer'} is no {kind.__name__}")
    return value


def _time(text: str, where: str) -> datetime:
    # fromisoformat takes six digits of a second at most.
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Unexpected(f"{where} is no time") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


class Pages(Generic[T]):
    """A list of any length: iterate over it, or over its pages.

    Each iteration begins at the first page; a page is asked for when the items
    before it are used up.
    """

    def __init__(self, fetch: typing.Callable[[str | Unset], tuple[list[T], str]]) -> None:
        self._fetch = fetch

    def pages(self) -> Iterator[list[T]]:
        cursor: str | Unset = UNSET
        while True:
            items, following = self._fetch(cursor)
            yield items
            if not following:
                return
            cursor = following

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page

    def first(self) -> T | None:
        """The first item, or None."""
        return next(iter(self), None)


class Download:
    """Bytes on their way. Read all of it, or close it.

        with client.download_file(org, file) as answer:
            answer.save("copy.tif")
    """

    def __init__(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        length = response.getheader("Content-Length")
        self.size: int | None = int(length) if length is not None else None
        self.status = response.status
        self.media_type = response.getheader("Content-Type", "")
        self.etag = response.getheader("ETag", "")
        self.request_id = response.getheader("Strongroom-Request-Id", "")
        self.headers = response.headers
        self._left = self.size

    def read(self, size: int = -1) -> bytes:
        """Up to size bytes, or all that are left. A connection that breaks off
        raises Unreachable: half a file is not taken for a whole one."""
        try:
            got = self._response.read(None if size < 0 else size)
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Unreachable(f"the connection broke off: {type(e).__name__}") from e
        if self._left is not None:
            self._left -= len(got)
            if self._left > 0 and (size < 0 or (not got and size > 0)):
                self.close()
                raise Unreachable("the connection broke off before the end")
        return got

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK):
            yield block

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write everything into a new file and return its size."""
        size = 0
        with open(path, "xb") as out:
            try:
                for block in self:
                    size += out.write(block)
            except BaseException:
                os.unlink(path)
                raise
        return size

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# Sending.


class Caller:
    """What the operations call. See strongroom.Client."""

    def __init__(
        self,
        url: str,
        *,
        token: str | Secret | None = None,
        ca: str | os.PathLike[str] | None = None,
        purpose: str | None = None,
        timeout: float = 120.0,
        attempts: int = 4,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("the address must be https://HOST[:PORT]: a token does not travel in clear")
        self._host = parts.hostname
        self._port = parts.port or 443
        self._base = parts.path.rstrip("/")
        self._token = Secret(token) if isinstance(token, str) else token
        self._ca = ca
        self._purpose = purpose
        self._timeout = timeout
        self._attempts = max(1, attempts)
        self._tls = ssl.create_default_context(cafile=os.fspath(ca) if ca is not None else None)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._local = threading.local()

    def with_token(self, token: str | Secret) -> typing.Self:
        """The same installation, called as somebody else."""
        origin = f"https://{'[' + self._host + ']' if ':' in self._host else self._host}:{self._port}{self._base}"
        return type(self)(origin, token=token, ca=self._ca, purpose=self._purpose, timeout=self._timeout, attempts=self._attempts)

    def close(self) -> None:
        """End this thread's connection. The client can be used again."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_local"):
            self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}('https://{self._host}:{self._port}{self._base}')"

    def _call(self, method: str, path: str, names: Mapping[str, str], kind: Any, **how: Any) -> Any:
        connection, response = self._send(method, path, names, **how)
        body = self._read(connection, response, MAX_ANSWER)
        if kind is None:
            return None
        try:
            return decode(kind, loads(body))
        except (ValueError, RecursionError) as e:
            raise Unexpected("the answer is not JSON") from e

    def _list(self, method: str, path: str, names: Mapping[str, str], kind: Any, *, query: Mapping[str, Any] | None = None, **how: Any) -> Pages[Any]:
        def fetch(cursor: str | Unset) -> tuple[list[Any], str]:
            page = self._call(method, path, names, dict[str, Any], query={**(query or {}), "cursor": cursor}, **how)
            return decode(list[kind], page.get("items")), page.get("next") or ""

        return Pages(fetch)

    def _download(self, method: str, path: str, names: Mapping[str, str], **how: Any) -> Download:
        # A connection of its own: another call may come before the end is read.
        return Download(*self._send(method, path, names, alone=True, **how))

    def _send(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        stream: Any = UNSET,
        media_type: str | Unset = UNSET,
        idempotency_key: str | Unset = UNSET,
        keyed: bool = False,
        purpose: bool = False,
        signed: bool = True,
        alone: bool = False,
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        target = self._target(path, names, query or {})
        head = {"Accept": "application/json, application/problem+json, */*;q=0.5", "User-Agent": "strongroom-python"}
        if signed and self._token is not None:
            head["Authorization"] = "Bearer " + self._token.reveal()
        if purpose and self._purpose:
            head["Strongroom-Purpose"] = self._purpose
        for name, value in (headers or {}).items():
            if not isinstance(value, Unset):
                head[name] = _header(name, value)
        body: Any = None
        if not isinstance(json, Unset):
            body = dumps(json).encode()
            head["Content-Type"] = "application/json"
        elif not isinstance(stream, Unset):
            body = stream
            head["Content-Type"] = "application/octet-stream" if isinstance(media_type, Unset) else media_type
        start = _position(body)
        again = method == "GET"
        if keyed:
            head["Idempotency-Key"] = str(uuid.uuid4()) if isinstance(idempotency_key, Unset) else idempotency_key
            again = body is None or isinstance(body, bytes) or start is not None
        attempt = 0
        while True:
            attempt += 1
            last = attempt >= self._attempts or not again
            if attempt > 1 and start is not None:
                body.seek(start)
            try:
                connection, response = self._once(method, target, body, dict(head), alone)
            except (OSError, http.client.HTTPException) as e:
                if isinstance(e, ssl.SSLCertVerificationError):
                    raise Unreachable(f"the certificate of {self._host} does not check: {e.verify_message}") from e
                if last:
                    raise Unreachable(f"{self._host} cannot be reached: {e or type(e).__name__}") from e
                self._pause(attempt, None)
                continue
            if 200 <= response.status < 300 or response.status == 304:
                return connection, response
            problem = self._problem(connection, response)
            if last or response.status not in (429, 503):
                raise problem
            self._pause(attempt, response.getheader("Retry-After"))

    def _once(
        self, method: str, target: str, body: Any, head: dict[str, str], alone: bool
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        reused = None if alone else getattr(self._local, "connection", None)
        connection = reused or http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls, blocksize=BLOCK)
        if not alone:
            self._local.connection = None  # until the answer is read to its end
        try:
            chunked = False
            if body is not None and not isinstance(body, bytes):
                size = _size(body)
                if size is None:
                    head["Transfer-Encoding"] = "chunked"
                    chunked = True
                else:
                    head["Content-Length"] = str(size)
            try:
                connection.request(method, target, body=body, headers=head, encode_chunked=chunked)
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses while the body is on its way has answered
                # already; its answer says more than the broken pipe.
                if reused is not None or connection.sock is None:
                    raise
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _read(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse, limit: int) -> bytes:
        try:
            body = response.read(limit + 1)
            if len(body) > limit:
                connection.close()
                raise Unexpected("the answer is too large")
            length = response.getheader("Content-Length")
            if length is not None and response.status != 304 and len(body) != int(length):
                connection.close()
                raise Unreachable("the connection broke off before the end of the answer")
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            raise Unreachable(f"the connection broke off: {type(e).__name__}") from e
        if response.will_close:
            connection.close()
        elif getattr(self._local, "connection", None) is None:
            self._local.connection = connection
        return body

    def _problem(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse) -> StrongroomError:
        media = response.getheader("Content-Type", "")
        body = self._read(connection, response, MAX_PROBLEM)
        if not media.startswith("application/problem+json"):
            return Unexpected(f"{self._host} answers {response.status}, and not as Strongroom does")
        try:
            p = loads(body)
            errors = [Detail(str(e.get("pointer", "")), str(e.get("code", "")), str(e.get("detail", ""))) for e in p.get("errors") or []]
            kind = _BY_STATUS.get(response.status, Problem)
            return kind(response.status, str(p.get("code", "")), str(p.get("detail", "")), str(p.get("request_id", "")), errors)
        except (ValueError, AttributeError, RecursionError):
            return Unexpected(f"{self._host} answers {response.status}, and not as Strongroom does")

    def _pause(self, attempt: int, retry_after: str | None) -> None:
        wait = min(10.0, 0.1 * 2**attempt) * random.uniform(0.5, 1.0)
        if retry_after is not None and retry_after.isdigit():
            wait = max(wait, min(60.0, float(retry_after)))
        time.sleep(wait)

    def _target(self, path: str, names: Mapping[str, str], query: Mapping[str, Any]) -> str:
        for name, value in names.items():
            if not isinstance(value, str) or value in ("", ".", ".."):
                raise ValueError(f"{name} must be the text of an identifier")
            path = path.replace("{" + name + "}", urllib.parse.quote(value, safe=""))
        pairs = [(name, _word(value)) for name, value in query.items() if not isinstance(value, Unset) and value is not None]
        return self._base + path + ("?" + urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote) if pairs else "")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return loads(dumps(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_word(v) for v in value)
    return str(value)


def _header(name: str, value: Any) -> str:
    if name == "If-Match":
        return f'"{int(value)}"'
    if name == "Content-Disposition":
        # RFC 8187: a name in any script, without a byte that could end the header.
        return "attachment; filename*=UTF-8''" + urllib.parse.quote(str(value), safe="")
    return str(value)


def _position(body: Any) -> int | None:
    try:
        return body.tell() if body is not None and body.seekable() else None
    except (AttributeError, OSError):
        return None


def _size(body: BinaryIO) -> int | None:
    at = _position(body)
    if at is None:
        return None
    end = body.seek(0, os.SEEK_END)
    body.seek(at)
    return end - at
