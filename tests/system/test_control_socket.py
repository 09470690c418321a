"""The socket over which people speak to a running process: real, on this machine."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.channels.control import MESSAGE_BYTES_MAX, Asked, Call, ControlSocket
from pipeline.errors import ControlRefused


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def owner(path: Path) -> Iterator[ControlSocket]:
    control = ControlSocket(path)
    yield control
    control.close()


def take(owner: ControlSocket) -> list[Asked]:
    """Turn until a request is there; a turn may only find the connection."""
    while not (asked := owner.take()):
        pass
    return asked


def test_a_request_comes_whole_and_its_reply_goes_back(owner: ControlSocket, path: Path) -> None:
    call = Call(path, {"verb": "halt", "reason": "lunch"})
    (asked,) = take(owner)
    assert asked.message == {"verb": "halt", "reason": "lunch"}
    asked.reply({"state": "HALTED"})
    assert call.reply() == {"state": "HALTED"}


def test_nothing_asked_is_nothing_taken(owner: ControlSocket) -> None:
    assert owner.take() == []


def test_requests_of_several_people_are_answered_each(owner: ControlSocket, path: Path) -> None:
    calls = [Call(path, {"number": number}) for number in range(5)]
    asked: list[Asked] = []
    while len(asked) < 5:
        asked += owner.take()
    for one in reversed(asked):
        one.reply(dict(one.message))
    assert [call.reply()["number"] for call in calls] == [0, 1, 2, 3, 4]


def test_only_the_owner_of_the_run_may_connect(owner: ControlSocket, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_longer_than_a_socket_may_have_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    owner = ControlSocket(deep / "control.sock")
    call = Call(deep / "control.sock", {"verb": "status"})
    (asked,) = take(owner)
    asked.reply({})
    assert call.reply() == {}
    owner.close()


def test_a_socket_of_a_dead_process_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dead.bind(str(path))
    dead.close()
    owner = ControlSocket(path)
    call = Call(path, {"verb": "status"})
    (asked,) = take(owner)
    asked.reply({"alive": True})
    assert call.reply() == {"alive": True}
    owner.close()
    assert not path.exists()


@pytest.mark.parametrize("garbage", [b"\xff\xfe", b"halt", b"[1, 2]", b"", b"{" * 70_000])
def test_what_is_no_request_is_hung_up_on_and_harms_nobody(
    owner: ControlSocket, path: Path, garbage: bytes
) -> None:
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stranger.settimeout(10)
    stranger.connect(str(path))
    stranger.send(garbage[: MESSAGE_BYTES_MAX + 100])
    call = Call(path, {"verb": "status"})
    (asked,) = take(owner)
    asked.reply({"alive": True})
    assert call.reply() == {"alive": True}
    if garbage:  # an empty packet is how a connection that says nothing looks
        while owner.take():
            pass
        assert stranger.recv(100) == b""
    stranger.close()


def test_who_hangs_up_before_the_reply_harms_nobody(owner: ControlSocket, path: Path) -> None:
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stranger.connect(str(path))
    stranger.send(b'{"verb": "status"}')
    (asked,) = take(owner)
    stranger.close()
    asked.reply({"text": "x" * 1_000})
    assert owner.take() == []


def test_nobody_listening_is_said_with_the_cure(path: Path) -> None:
    with pytest.raises(ControlRefused, match=r"control\.sock: No such file") as refused:
        Call(path, {"verb": "halt"})
    assert "cure: name the run" in str(refused.value)


def test_an_owner_that_dies_before_it_answers_is_said(path: Path) -> None:
    owner = ControlSocket(path)
    call = Call(path, {"verb": "halt"})
    (asked,) = take(owner)
    asked.connection.close()
    owner.close()
    with pytest.raises(ControlRefused, match=r"ended before it answered|reset"):
        call.reply()
