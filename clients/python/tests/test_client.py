"""Tests of the half of the client that is written by hand, against a server of
their own that answers over TLS as Strongroom does, and as it does not."""

import http.server
import io
import os
import pickle
import ssl
import tempfile
import threading
import unittest
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import strongroom
from strongroom import Client, Secret, _client

CERT, KEY = os.environ["TEST_CERT"], os.environ["TEST_KEY"]


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: list = []
    seen: list = []

    def do(self) -> None:
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(length or 0))
        Server.seen.append((self.command, self.path, self.headers, body))
        status, headers, answer, cut = Server.answers.pop(0)
        if status == 0:
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer) + cut))
        self.end_headers()
        self.wfile.write(answer)
        if cut:
            self.wfile.flush()
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do

    def log_message(self, *_: object) -> None:
        pass


class Case(unittest.TestCase):
    def setUp(self) -> None:
        Server.answers, Server.seen = [], []
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERT, KEY)
        self.httpd.socket = tls.wrap_socket(self.httpd.socket, server_side=True)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        self.addCleanup(self.httpd.server_close)
        self.addCleanup(self.httpd.shutdown)
        self.client = Client(f"https://127.0.0.1:{self.httpd.server_address[1]}", token="sr_key_test", ca=os.environ["TEST_CA"])
        self.addCleanup(self.client.close)
        pause = _client.Caller._pause
        _client.Caller._pause = lambda *_: None
        self.addCleanup(setattr, _client.Caller, "_pause", pause)

    def answer(self, status: int, body: bytes, media: str = "application/json", cut: int = 0, **headers: str) -> None:
        Server.answers.append((status, {"Content-Type": media, **headers}, body, cut))

    def problem(self, status: int, code: str) -> None:
        self.answer(status, b'{"type":"about:blank","title":"t","status":%d,"code":"%s","request_id":"req_1","errors":[{"pointer":"/a","code":"c"}]}' % (status, code.encode()), "application/problem+json")


class Calls(Case):
    def test_every_status_has_its_exception_with_the_places(self) -> None:
        for status, kind in _client._BY_STATUS.items():
            if status in (429, 503):
                for _ in range(3):
                    self.problem(status, "x")
            self.problem(status, "some_code")
            with self.assertRaises(kind) as got:
                self.client.get_org("org_1")
            self.assertEqual((got.exception.status, got.exception.code, got.exception.request_id), (status, "some_code", "req_1"))
            self.assertEqual(got.exception.errors[0].pointer, "/a")

    def test_an_answer_that_is_not_ours_is_said_to_be(self) -> None:
        for status, media, body in [(502, "text/html", b"<p>"), (302, "text/html", b""), (200, "application/json", b"{"), (200, "application/json", b"[]"), (200, "application/json", b'{"id":7}'), (404, "application/problem+json", b"[]")]:
            self.answer(status, body, media, **({"Location": "https://elsewhere.example/"} if status == 302 else {}))
            with self.assertRaises(strongroom.Unexpected):
                self.client.get_org("org_1")
        self.assertEqual(len(Server.seen), 6)

    def test_a_page_is_asked_for_when_it_is_needed(self) -> None:
        key = b'{"id":"key_%d","name":"n","prefix":"p","roles":[],"scopes":[],"created_at":"2026-01-02T03:04:05.678901Z","created_by":"prs_1","later":{"a":1}}'
        self.answer(200, b'{"items":[' + key % 1 + b'],"next":"c u/r"}')
        items = iter(self.client.list_keys("org_1", limit=1))
        first = next(items)
        self.assertEqual(first.created_at, datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc))
        self.assertIsNone(first.revoked_at)
        self.assertEqual(len(Server.seen), 1)
        self.answer(200, b'{"items":[' + key % 2 + b"]}")
        self.assertEqual([k.id for k in items], ["key_2"])
        self.assertEqual(Server.seen[1][1], "/v1/orgs/org_1/keys?limit=1&cursor=c%20u%2Fr")

    def test_creating_is_repeated_under_one_key_and_changing_is_not(self) -> None:
        record = b'{"id":"rec_1","collection":"k","version":1,"content":{"n":1.50},"visibility":"organization","owner":"prs_1","created_at":"2026-01-02T03:04:05Z","created_by":"p","updated_at":"2026-01-02T03:04:05Z","updated_by":"p","title":""}'
        Server.answers.append((0, {}, b"", 0))
        self.problem(503, "unavailable")
        self.answer(201, record)
        made = self.client.create_record("org_1", "k", content={"n": Decimal("1.50")})
        self.assertEqual(str(made.content["n"]), "1.50")
        self.assertEqual([s[3] for s in Server.seen], [b'{"content":{"n":1.50}}'] * 3)
        keys = {s[2]["Idempotency-Key"] for s in Server.seen}
        self.assertEqual(len(keys), 1)
        Server.answers.append((0, {}, b"", 0))
        with self.assertRaises(strongroom.Unreachable):
            self.client.update_record("org_1", "k", "rec_1", content={}, if_match=1)
        self.assertEqual(Server.seen[-1][2]["If-Match"], '"1"')
        self.assertEqual(len(Server.seen), 4)

    def test_files_are_streams_of_known_and_unknown_length(self) -> None:
        file = b'{"id":"fil_1","version":1,"size":3,"name":"n","media_type":"m","visibility":"private","owner":"p","created_at":"2026-01-02T03:04:05Z","created_by":"p","updated_at":"2026-01-02T03:04:05Z","updated_by":"p"}'

        class Pipe(io.RawIOBase):
            left = 3

            def readable(self) -> bool:
                return True

            def read(self, size: int = -1) -> bytes:
                self.left -= 1
                return b"x" if self.left >= 0 else b""

        for body in (b"xxx", io.BytesIO(b"xxx"), Pipe()):
            self.answer(201, file)
            self.client.upload_file("org_1", body, filename='a"\r\nb θ.csv', media_type="text/csv")
            self.assertEqual(Server.seen[-1][3], b"xxx")
            self.assertEqual(Server.seen[-1][2]["Content-Disposition"], "attachment; filename*=UTF-8''a%22%0D%0Ab%20%CE%B8.csv")
            self.assertEqual(Server.seen[-1][2]["Content-Type"], "text/csv")

    def test_half_a_file_is_not_taken_for_a_whole_one(self) -> None:
        for read in (lambda d: d.read(), lambda d: b"".join(d)):
            self.answer(200, b"half", "image/tiff", cut=4)
            with self.client.download_file("org_1", "fil_1") as answer:
                with self.assertRaises(strongroom.Unreachable):
                    read(answer)
        with tempfile.TemporaryDirectory() as folder:
            self.answer(200, b"half", "image/tiff", cut=4)
            path = os.path.join(folder, "copy")
            with self.assertRaises(strongroom.Unreachable):
                self.client.download_file("org_1", "fil_1").save(path)
            self.assertFalse(os.path.exists(path))
            self.answer(200, b"whole", "image/tiff")
            self.assertEqual(self.client.download_file("org_1", "fil_1").save(path), 5)

    def test_a_name_in_the_path_stays_one_name(self) -> None:
        self.problem(404, "not_found")
        with self.assertRaises(strongroom.NotFound):
            self.client.get_org("../v1?x#y:z")
        self.assertEqual(Server.seen[0][1], "/v1/orgs/..%2Fv1%3Fx%23y%3Az")
        for name in ("", ".", ".."):
            with self.assertRaises(ValueError):
                self.client.get_org(name)

    def test_a_server_that_nobody_vouches_for_gets_no_token(self) -> None:
        stranger = Client(f"https://127.0.0.1:{self.httpd.server_address[1]}", token="sr_key_test", attempts=1)
        with self.assertRaises(strongroom.Unreachable):
            stranger.get_org("org_1")
        self.assertEqual(Server.seen, [])
        for url in ("http://127.0.0.1", "https://", "ftp://x", "https://u:p@x", "https://x/?q"):
            with self.assertRaises(ValueError):
                Client(url)


class Values(unittest.TestCase):
    def test_numbers_keep_their_digits_both_ways(self) -> None:
        for text in ("12.50", "0.1000000000000000000000001", "1E+2", "-0.0", "123456789012345678901234567890", "7"):
            self.assertEqual(_client.dumps(_client.loads(text)), text)
        self.assertIsInstance(_client.loads("1" * 5000), Decimal)
        self.assertEqual(_client.dumps(_client.loads("1" * 5000)), "1" * 5000)

    def test_what_json_has_no_form_for_is_refused(self) -> None:
        for value in (float("nan"), float("inf"), Decimal("NaN"), b"x", {1: 2}, object(), datetime(2026, 1, 1)):
            with self.assertRaises((ValueError, TypeError)):
                _client.dumps(value)
        for text in ("NaN", "Infinity", "-Infinity"):
            with self.assertRaises(ValueError):
                _client.loads(text)

    def test_times_travel_in_utc(self) -> None:
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(_client.dumps(at), '"2026-01-02T01:04:05Z"')

    def test_what_is_left_out_is_not_sent(self) -> None:
        self.assertEqual(_client.dumps({"a": _client.UNSET, "b": None, "c": [True]}), '{"b":null,"c":[true]}')

    def test_a_secret_does_not_show(self) -> None:
        secret = Secret("sr_key_1")
        self.assertNotIn("sr_key_1", f"{secret} {secret!r} {[secret]}")
        self.assertEqual(secret.reveal(), "sr_key_1")
        with self.assertRaises(TypeError):
            pickle.dumps(secret)


if __name__ == "__main__":
    unittest.main()
