"""The library's protocol, with the contract's codes and our budget."""

from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import CONNECTING

from consumer.core.limits import Limits
from consumer.edges.wire import Wire
from tests.attacks.attacks import CONT, FIN, PING, TEXT, frame, handshake


def entered(limits: Limits) -> Wire:
    """One that has shaken hands."""
    wire = Wire(limits, None, CONNECTING)
    wire.receive_data(handshake("token"))
    (request,) = wire.events_received()
    assert isinstance(request, Request)
    wire.send_response(wire.accept(request))
    wire.data_to_send()
    return wire


def heard(wire: Wire, data: bytes) -> int:
    """How many frames of it the connection is given."""
    wire.receive_data(data)
    return sum(isinstance(each, Frame) for each in wire.events_received())


def test_behind_the_first_fragment_too_many_nothing_is_parsed() -> None:
    """However many one read brought."""
    wire = entered(Limits(fragments=3))
    assert heard(wire, frame(TEXT, b"x") + frame(CONT) * 500) == 3
    assert wire.close_sent is not None
    assert wire.close_sent.code == 4400
    assert heard(wire, frame(FIN | PING) * 500) == 0


def test_fragments_are_counted_by_message_and_pings_are_none() -> None:
    """The bound is one on what is kept."""
    wire = entered(Limits(fragments=3))
    message = frame(TEXT) + frame(FIN | PING) + frame(CONT) + frame(FIN | CONT)
    assert heard(wire, message * 5) == 20
    assert wire.close_sent is None


def test_behind_the_first_frame_too_many_nothing_is_parsed() -> None:
    """Pings are answered by the library, thousands of which fit into one read."""
    wire = entered(Limits(messages_per_s=2))
    assert heard(wire, frame(FIN | PING) * 500) == 20
    assert wire.close_sent is not None
    assert wire.close_sent.code == 4429
