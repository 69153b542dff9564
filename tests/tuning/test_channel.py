import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from elman.apps.core.errors import ElmanError, UsageError
from elman.tuning import channel
from elman.tuning.channel import Client, Server, address

from .test_search import drive, opened


@pytest.fixture
def served(tmp_path):
    search = opened(tmp_path, trials=3)
    server = Server("127.0.0.1", 0)
    server.start(search)
    yield search, Client("127.0.0.1", server.port)
    server.close()


def test_a_sweep_over_the_channel_is_the_sweep_itself(served, tmp_path):
    search, client = served
    assert client.join() == {"application": "fake", "space": "tests.tuning.fake"}
    assert drive(client) == ["0000", "0001", "0002"]
    beside = opened(tmp_path / "beside", trials=3)
    drive(beside)
    assert [t.config for t in search.trials.values()] == [t.config for t in beside.trials.values()]
    assert [t.score for t in search.trials.values()] == [t.score for t in beside.trials.values()]


def test_reports_and_losses_reach_the_search(served):
    search, client = served
    job = client.next("w")["job"]
    assert client.report(job["name"], job["lease"], "w", [2.0, 1.5]) == {"stop": ""}
    assert search.trials["0000"].curve == [2.0, 1.5]
    client.lost(job["name"], job["lease"], "killed")
    assert search.trials["0000"].state == "waiting"


def test_a_worker_with_other_versions_is_refused(served):
    theirs = {**channel.versions(), "elman": "9.9", "backend": "jax"}
    with pytest.raises(
        ElmanError, match=r"this worker has elman 9\.9 \(chief: .*\), backend jax .*install what the chief"
    ):
        served[1]._call("join", theirs=theirs)


def test_a_port_in_use_is_named():
    first = Server("127.0.0.1", 0)
    with pytest.raises(UsageError, match=f"--chief 127.0.0.1:{first.port}: .*in use; choose another port"):
        Server("127.0.0.1", first.port)
    first.close()


@pytest.mark.parametrize("text", ["here", "here:", ":70", "here:x", "here:70000"])
def test_an_address_is_host_and_port(text):
    with pytest.raises(UsageError, match="--worker: expected HOST:PORT"):
        address(text, "--worker")


def test_an_address_may_be_of_version_six():
    assert address("[::1]:70", "--chief") == ("::1", 70)


def test_a_worker_waits_for_a_chief_that_is_restarted(tmp_path):
    place = Server("127.0.0.1", 0)
    port = place.port
    place.close()
    client = Client("127.0.0.1", port, patience=30)
    assert client.report("0000", "lease", "w", [1.0]) == {"stop": ""}  # a running trial goes on
    servers = []

    def later():
        time.sleep(0.5)
        servers.append(Server("127.0.0.1", port))
        servers[0].start(opened(tmp_path))

    thread = threading.Thread(target=later)
    thread.start()
    assert client.next("w")["job"]["name"] == "0000"
    thread.join()
    servers[0].close()
    with pytest.raises(ElmanError, match="does not answer"):
        Client("127.0.0.1", port, patience=0).next("w")


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/oracle", b"{}", 404), ("/next", b"{", 409), ("/end", b"{}", 409)]
)
def test_what_is_not_a_call_is_answered_with_an_error(served, path, body, status):
    client = served[1]
    request = urllib.request.Request(f"http://127.0.0.1:{client.port}{path}", body)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == status
    assert json.loads(caught.value.read())["error"]
