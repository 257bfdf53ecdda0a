"""Requests find their model, keys and limits hold, and errors are OpenAI's."""

import hashlib
import http.client
import json
import socket
import threading
import time

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import contents
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model
from tests.gateway.conftest import Start
from tests.gateway.running import KEY, Answer
from tests.gateway.standin import StandIn

OTHER = "another-key-of-the-tests"


def test_a_request_reaches_its_model_wherever_the_name_stands_in_the_body(start: Start) -> None:
    gateway = start(models={"alpha": {"aliases": ["gpt-4o"]}})
    long = [{"role": "user", "content": "x" * (8 << 20)}]
    assert gateway.ask({"messages": long, "model": "beta"}).json["server"] == "h3"
    assert gateway.ask({"model": "beta", "messages": long}).json["server"] == "h3"
    assert gateway.ask({"messages": [], "model": "gpt-4o"}).json["server"] in {"h1", "h2"}
    assert gateway.ask({}, headers={"x-model": "beta"}).json["server"] == "h3"
    assert gateway.ask({"model": "beta", "content": "hi"}, path="/tokenize").json["path"] == "/tokenize"


def test_errors_have_the_form_of_openai_s(start: Start) -> None:
    gateway = start()
    unknown = gateway.ask({"model": 'gam"ma'})
    assert unknown.status == 404
    assert unknown.error == "no model 'gam\"ma' here; GET /v1/models lists the names that this gateway knows"
    assert gateway.ask({"model": "alpha"}, key="").status == 401
    assert gateway.ask({"model": "alpha"}, key="unknown").status == 401
    assert gateway.ask({"model": "alpha"}, path="/slots").status == 404
    assert gateway.ask(path="/props", method="GET").error == "this gateway has no such endpoint"
    assert gateway.ask({"model": "alpha", "x": "y" * (33 << 20)}).status == 413
    for answer in (unknown, gateway.ask({"model": "alpha"}, key="")):
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["content-type"] == "application/json"


def test_all_models_and_aliases_are_listed(start: Start) -> None:
    gateway = start(models={"beta": {"aliases": ["gpt-4o"]}})
    listed = gateway.ask(path="/v1/models", method="GET").json
    assert [model["id"] for model in listed["data"]] == ["alpha", "beta", "gpt-4o"]
    gateway.runtime.replace_map(
        gateway.options.root / contents.LISTING, {contents.ALL: contents.model_list([Model("new", (), ("newer",))])}
    )
    listed = gateway.ask(path="/v1/models", method="GET").json
    assert [model["id"] for model in listed["data"]] == ["new", "newer"]
    assert gateway.ask(path="/v1/models", method="GET", key="").status == 401
    assert gateway.ask(path="/health", method="GET", key="").status == 200


def test_keys_come_and_go_while_it_runs(start: Start) -> None:
    gateway = start()
    keys = gateway.options.root / contents.KEYS
    pid = gateway.runtime.seen().pid
    gateway.runtime.replace_map(keys, {contents.digest(OTHER): "bob"})
    assert gateway.ask({"model": "alpha"}, key=OTHER).status == 200
    assert gateway.ask({"model": "alpha"}, key=KEY).status == 401
    assert gateway.ask({"model": "alpha"}, key="", headers={"x-api-key": OTHER}).status == 200
    assert gateway.runtime.seen().pid == pid
    assert sorted(line["key"] for line in gateway.lines(3)) == ["-", "bob", "bob"]


def test_a_server_gets_the_gateway_s_key_and_never_a_client_s(start: Start, standins: list[StandIn]) -> None:
    secret = 'se"cr$et%of\\the-servers'
    gateway = start(backend_key=secret)
    assert gateway.ask({"model": "beta"}).status == 200
    assert standins[2].keys == [f"Bearer {secret}"]


def test_no_key_of_a_client_is_on_the_disk(start: Start) -> None:
    gateway = start(api_keys={"ann": KEY, "bob": f"sha256:{hashlib.sha256(OTHER.encode()).hexdigest()}"})
    assert gateway.ask({"model": "beta"}, key=OTHER).status == 200
    texts = [path.read_text(encoding="utf-8") for path in gateway.options.root.iterdir()]
    texts.append(gateway.log.read_text(encoding="utf-8"))
    assert not [text for text in texts if KEY in text or OTHER in text]


def test_a_key_has_its_limits(start: Start) -> None:
    gateway = start(
        api_keys={"ann": KEY, "bob": OTHER},
        limits={"default": {"concurrent": 1}, "bob": {"per_minute": 2, "concurrent": 4}},
    )
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.ask({"model": "alpha"}))) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert (refused.error, refused.headers["retry-after"]) == ("the limit of this key is 1 requests at a time", "1")
    assert [gateway.ask({"model": "alpha"}, key=OTHER).status for _number in range(3)] == [200, 200, 429]


def test_more_requests_than_slots_wait_in_the_gateway(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(gateway.ask({"model": "beta"}).status)) for _number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 12
    assert standins[2].peak == 4
    assert max(line["queue_ms"] for line in gateway.lines(12)) > 0


def test_a_queue_that_lasts_too_long_tells_when_to_come_back(start: Start, standins: list[StandIn]) -> None:
    standins[2].seconds = 3
    gateway = start(queue_timeout=1)
    threads = [threading.Thread(target=lambda: gateway.ask({"model": "beta"})) for _number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    answer = gateway.ask({"model": "beta"})
    for thread in threads:
        thread.join()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.error == "every server of the model is busy or down"


def test_a_conversation_stays_on_its_server(start: Start) -> None:
    gateway = start()
    for number in range(10):
        first = [{"role": "system", "content": "you"}, {"role": "user", "content": f"question {number}"}]
        later = [*first, {"role": "assistant", "content": "answer"}, {"role": "user", "content": "and?"}]
        servers = {gateway.ask({"model": "alpha", "messages": turn}).json["server"] for turn in (first, later, later)}
        assert len(servers) == 1
    keys = {str(number): gateway.ask({"model": "alpha", "user": str(number)}).json["server"] for number in range(20)}
    assert set(keys.values()) == {"h1", "h2"}
    assert all(gateway.ask({"model": "alpha", "user": name}).json["server"] == keys[name] for name in keys)


def test_a_stream_s_events_arrive_one_by_one(start: Start, standins: list[StandIn]) -> None:
    standins[2].seconds = 2
    gateway = start()
    body = json.dumps({"model": "beta", "stream": True, "events": 100})
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", "Connection: close"]
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
    # Of the bytes as they come: a client of HTTP would hand out each event by itself, even if all came together.
    with socket.create_connection(("127.0.0.1", gateway.options.port), timeout=30) as connection:
        connection.sendall(request.encode())
        parts = list(iter(lambda: connection.recv(1 << 16), b""))
    assert b"[DONE]" in b"".join(parts)
    assert len([part for part in parts if b"data: {" in part]) >= 90


def test_a_client_that_leaves_frees_its_slot(start: Start, standins: list[StandIn]) -> None:
    standins[2].seconds = 20
    gateway = start()
    for _number in range(4):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.options.port, timeout=30)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps({"model": "beta"}), {"Authorization": f"Bearer {KEY}"}
        )
        time.sleep(0.1)
        connection.close()
    end = time.monotonic() + 10
    while time.monotonic() < end and any(server.busy for server in gateway.runtime.seen().of("model-beta")):
        time.sleep(0.1)
    assert [server.busy for server in gateway.runtime.seen().of("model-beta")] == [0]


HOSTILE = (
    b"not HTTP at all\r\n\r\n",
    b'G"ET / HTTP/1.1\r\nHost: x\r\n\r\n',
    b'GET /"},{"\x00 HTTP/1.1\r\nHost: x\r\n\r\n',
    b"GET /\xff\xfe%22%0a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-model: alpha\r\n beta\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
)


def test_the_log_stays_one_json_object_a_line_whatever_clients_send(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    for request in HOSTILE:
        with socket.create_connection(("127.0.0.1", gateway.options.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    for model in ('al"pha', "alpha\n{}", "\x1b[2J", "a" * 100_000, "☃"):
        assert gateway.ask({"model": model}).status == 404
    assert gateway.ask({"model": "alpha"}).status == 200
    lines = gateway.lines(len(HOSTILE) + 6)
    assert len(lines) == len(HOSTILE) + 6
    assert {line["held_ms"] for line in lines} == {"-", "0"}
    assert [standin.keys for standin in standins].count([""]) == 1
