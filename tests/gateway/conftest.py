import pathlib
import shutil
import typing

import pytest

from tests.gateway.running import Gateway, server_of
from tests.gateway.standin import StandIn

Start = typing.Callable[..., Gateway]


@pytest.fixture(autouse=True)
def _haproxy() -> None:
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")


@pytest.fixture
def standins() -> typing.Iterator[list[StandIn]]:
    """Three stand-ins: two serve alpha, one serves beta."""
    made = [StandIn(name) for name in ("h1", "h2", "h3")]
    yield made
    for standin in made:
        standin.stop()


@pytest.fixture
def start(tmp_path: pathlib.Path, standins: list[StandIn]) -> typing.Iterator[Start]:
    """Start a gateway before the stand-ins, with options of the role."""
    started: list[Gateway] = []

    def begin(**given: typing.Any) -> Gateway:
        models = ("alpha", "alpha", "beta")
        servers = [server_of(standin, model) for standin, model in zip(standins, models, strict=True)]
        folder = tmp_path / str(len(started))
        folder.mkdir()
        gateway = Gateway(folder, servers, **given)
        started.append(gateway)
        gateway.wait_up(3)
        return gateway

    yield begin
    for gateway in started:
        gateway.stop()
