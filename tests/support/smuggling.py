"""Requests that two servers in a row may read as different ones, by the public catalogues of such differences.

Each is sent as it is, with `SMUGGLED` in what a careless reader would take for a second request. HOST is the sprite's.
Refused: it is answered 4xx and the connection ends. Harmless: it may be answered, as one request that both read alike.
"""

from __future__ import annotations

import h11

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"


def _post(
    *headers: bytes,
    body: bytes = b"0\r\n\r\n",
    line: bytes = b"POST / HTTP/1.1",
    host: bytes = b"Host: HOST",
    then: bytes = SMUGGLED,
) -> bytes:
    lines = (line, *([host] if host else []), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body + then


REFUSED: dict[str, bytes] = {
    # Both lengths, several, odd ones (CL.TE, TE.CL, CL.CL)
    "CL.TE": _post(b"Content-Length: 5", _CHUNKED),
    "TE.CL": _post(_CHUNKED, b"Content-Length: 5"),
    "CL.TE without a body": _post(b"Content-Length: 0", _CHUNKED),
    "two lengths that differ": _post(b"Content-Length: 5", b"Content-Length: 0"),
    "two lengths that agree": _post(b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": _post(b"Content-Length: 5, 0"),
    "a length with plus": _post(b"Content-Length: +5"),
    "a negative length": _post(b"Content-Length: -5"),
    "a length with a blank in it": _post(b"Content-Length: 0 5"),
    "a hexadecimal length": _post(b"Content-Length: 0x5"),
    "a length with an underscore": _post(b"Content-Length: 0_5"),
    "a length beyond 64 bits": _post(b"Content-Length: 18446744073709551621"),
    "a length of other digits": _post("Content-Length: ٥".encode()),
    "an empty length": _post(b"Content-Length: "),
    "a length of words": _post(b"Content-Length: five"),
    "a length with a fraction": _post(b"Content-Length: 5.0"),
    "a quoted length": _post(b'Content-Length: "5"'),
    # Transfer codings
    "chunked twice": _post(_CHUNKED, _CHUNKED),
    "chunked and identity": _post(_CHUNKED, b"Transfer-Encoding: identity"),
    "identity, chunked": _post(b"Transfer-Encoding: identity, chunked"),
    "chunked, identity": _post(b"Transfer-Encoding: chunked, identity"),
    "gzip, chunked": _post(b"Transfer-Encoding: gzip, chunked"),
    "a coding nobody knows": _post(b"Transfer-Encoding: xchunked"),
    "chunked with a word behind it": _post(b"Transfer-Encoding: chunked x"),
    "chunked with a parameter": _post(b"Transfer-Encoding: chunked;q=1"),
    "chunked, quoted": _post(b'Transfer-Encoding: "chunked"'),
    "a comma before chunked": _post(b"Transfer-Encoding: ,chunked"),
    "a vertical tab before chunked": _post(b"Transfer-Encoding: \x0bchunked"),
    "NUL after chunked": _post(b"Transfer-Encoding: chunked\0"),
    "chunked in another case with a length": _post(b"Transfer-Encoding: CHUNKED", b"Content-Length: 5"),
    "a no-break space before chunked": _post(b"Transfer-Encoding: \xa0chunked"),
    "chunked by HTTP/1.0": _post(_CHUNKED, line=b"POST / HTTP/1.0"),
    "an empty coding": _post(b"Transfer-Encoding: "),
    "a blank before the colon of the coding": _post(b"Transfer-Encoding : chunked"),
    "a blank before the name of the coding": _post(b"A: b", b" Transfer-Encoding: chunked"),
    "a tab before the colon of the length": _post(b"Content-Length\t: 5"),
    # Chunks
    "a chunk's size with 0x": _post(_CHUNKED, body=b"0x0\r\n\r\n"),
    "a chunk's size with plus": _post(_CHUNKED, body=b"+0\r\n\r\n"),
    "a negative chunk": _post(_CHUNKED, body=b"-1\r\n\r\n"),
    "a chunk's size that is none": _post(_CHUNKED, body=b"g\r\n\r\n"),
    "a chunk's size beyond 64 bits": _post(_CHUNKED, body=b"10000000000000001\r\nx\r\n0\r\n\r\n"),
    "a chunk's size with an underscore": _post(_CHUNKED, body=b"0_0\r\n\r\n"),
    "a blank before a chunk's size": _post(_CHUNKED, body=b" 0\r\n\r\n"),
    "a blank after a chunk's size": _post(_CHUNKED, body=b"0 \r\n\r\n"),
    "a chunk's line that ends in LF": _post(_CHUNKED, body=b"1\nx\n0\n\n"),
    "a chunk's line that ends in CR": _post(_CHUNKED, body=b"1\rx\r\n0\r\n\r\n"),
    "a chunk longer than it says": _post(_CHUNKED, body=b"1\r\nxyz\r\n0\r\n\r\n"),
    "a chunk without its end": _post(_CHUNKED, body=b"1\r\nx0\r\n\r\n"),
    "an extension with LF": _post(_CHUNKED, body=b"1;\nx\r\n0\r\n\r\n"),
    "an extension with CR": _post(_CHUNKED, body=b"1;a\rb\r\nx\r\n0\r\n\r\n"),
    "an extension with NUL": _post(_CHUNKED, body=b"1;a\0b\r\nx\r\n0\r\n\r\n"),
    "an extension without end": _post(_CHUNKED, body=b"1;" + b"a" * 500_000),
    "a trailer with a blank before its colon": _post(_CHUNKED, body=b"0\r\nA : b\r\n\r\n"),
    "a trailer that is folded": _post(_CHUNKED, body=b"0\r\nA: b\r\n c\r\n\r\n"),
    "NUL in a trailer": _post(_CHUNKED, body=b"0\r\nA: b\0\r\n\r\n"),
    # Lines of the head
    "obs-fold": _post(b"A: b", b" c"),
    "obs-fold with a tab": _post(b"A: b", b"\tc"),
    "obs-fold of the coding": _post(b"Transfer-Encoding:", b" chunked"),
    "obs-fold before the first header": _post(host=b" Host: HOST"),
    "NUL in a value": _post(b"A: b\0c"),
    "NUL in a name": _post(b"A\0: b"),
    "a bare CR in a value": _post(b"A: b\rTransfer-Encoding: chunked"),
    "a bare LF in a value": _post(b"A: b\nTransfer-Encoding: chunked"),
    "a bare LF after the request line": b"POST / HTTP/1.1\nHost: HOST\r\n\r\n" + SMUGGLED,
    "a bare LF at the end of the head": b"POST / HTTP/1.1\r\nHost: HOST\r\n\n" + SMUGGLED,
    "only LF": b"POST / HTTP/1.1\nHost: HOST\n\n" + SMUGGLED,
    "only CR": b"POST / HTTP/1.1\rHost: HOST\r\r" + SMUGGLED,
    "a control character in a value": _post(b"A: b\x01c"),
    "DEL in a value": _post(b"A: b\x7fc"),
    "a header without a colon": _post(b"A"),
    "a header without a name": _post(b": b"),
    "a blank in a name": _post(b"A B: c"),
    "a bracket in a name": _post(b"A(B): c"),
    "a name beyond ASCII": _post("Ä: b".encode("latin-1")),
    "CRLF, blank, CRLF": _post(b" "),
    # Host, and the target
    "no Host": _post(host=b""),
    "two Hosts": _post(b"Host: HOST"),
    "two Hosts that differ": _post(b"Host: 127.0.0.1"),
    "a Host with a blank": _post(host=b"Host: HOST x"),
    "a Host with a path": _post(host=b"Host: HOST/x"),
    "a Host with a user": _post(host=b"Host: x@HOST"),
    "a Host with a comma": _post(host=b"Host: HOST,x"),
    "a Host with a query": _post(host=b"Host: HOST?x"),
    "a Host with a port that is none": _post(host=b"Host: HOST:8x"),
    "a Host with NUL": _post(host=b"Host: HOST\0x"),
    "a Host with a percent": _post(host=b"Host: HOST%2fx"),
    "an absolute target of another host": _post(line=b"POST http://127.0.0.1/ HTTP/1.1"),
    "an absolute target of another port": _post(line=b"POST http://HOST:1/ HTTP/1.1"),
    "an absolute target with a user": _post(line=b"POST http://x@HOST/ HTTP/1.1"),
    "a target of another scheme": _post(line=b"POST ftp://HOST/ HTTP/1.1"),
    "a target that is no path": _post(line=b"POST x HTTP/1.1"),
    "an asterisk that is not for OPTIONS": _post(line=b"POST * HTTP/1.1"),
    "a target with a fragment": _post(line=b"POST /#x HTTP/1.1"),
    "a blank in the target": _post(line=b"POST /a b HTTP/1.1"),
    "a tab in the target": _post(line=b"POST /a\tb HTTP/1.1"),
    "NUL in the target": _post(line=b"POST /a\0b HTTP/1.1"),
    "CR in the target": _post(line=b"POST /a\rb HTTP/1.1"),
    "a target beyond ASCII": _post(line=b"POST /\xe4 HTTP/1.1"),
    "no target": _post(line=b"POST  HTTP/1.1"),
    # The request line
    "a tab": _post(line=b"POST\t/ HTTP/1.1"),
    "a blank behind the version": _post(line=b"POST / HTTP/1.1 "),
    "HTTP/0.9": b"GET /\r\n\r\n" + SMUGGLED,
    "HTTP/1.2": _post(line=b"POST / HTTP/1.2"),
    "HTTP/2.0": _post(line=b"POST / HTTP/2.0"),
    "HTTP/01.1": _post(line=b"POST / HTTP/01.1"),
    "HTTP/1.1x": _post(line=b"POST / HTTP/1.1x"),
    "http in small letters": _post(line=b"POST / http/1.1"),
    "a method nobody knows": _post(line=b"SMUGGLE / HTTP/1.1"),
    "a method in small letters": _post(line=b"post / HTTP/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "something that is no HTTP": b"\x16\x03\x01\x02\x00\x01" + SMUGGLED,
    # Expectations, upgrades, methods for proxies
    "an expectation nobody knows": _post(b"Expect: 200-ok"),
    "an upgrade with a body": _post(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: LENGTH", body=b""),
    "an upgrade to HTTP/2 with a body": _post(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", b"Content-Length: LENGTH"
    ),
    "an upgrade with chunks": _post(b"Connection: Upgrade", b"Upgrade: websocket", _CHUNKED),
    "CONNECT": _post(line=b"CONNECT HOST:80 HTTP/1.1", host=b"Host: HOST:80"),
    "TRACE": _post(b"Connection: close", line=b"TRACE / HTTP/1.1"),
}  # fmt: skip

# As one request, without anything that could be read otherwise: `SMUGGLED` is its body, or comes after its end.
# LENGTH and SIZE are those of `SMUGGLED`, in decimal and in hexadecimal digits.
_CLOSE = b"Connection: close"
_LENGTH = b"Content-Length: LENGTH"


def _chunks(*headers: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """`SMUGGLED` as one chunk."""
    body = b"SIZE" + extension + b"\r\n" + SMUGGLED + b"\r\n0" + extension + b"\r\n" + trailers + b"\r\n"
    return _post(_CHUNKED, *(headers or (_CLOSE,)), body=body, then=b"")


HARMLESS: dict[str, bytes] = {
    "a body that looks like a request": _post(_LENGTH, _CLOSE, body=b""),
    "a length with leading zeros": _post(b"Content-Length: 000LENGTH", _CLOSE, body=b""),
    "names with underscores": _post(b"Content_Length: 5", b"Transfer_Encoding: chunked", _LENGTH, _CLOSE, body=b""),
    "a length that Connection names": _post(_LENGTH, b"Connection: close, Content-Length", body=b""),
    "a coding that Connection names": _chunks(b"Connection: close, Transfer-Encoding"),
    "extensions of chunks": _chunks(extension=b';a=b;c="d"'),
    "trailers that would be headers": _chunks(trailers=b"Host: x\r\nCookie: y\r\nAuthorization: z\r\n"),
    "an upgrade to HTTP/2": _post(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", body=b""
    ),
    "an absolute target of the same host": _post(_LENGTH, _CLOSE, body=b"", line=b"POST http://HOST/ HTTP/1.1"),
    "two blanks in its line": _post(b"Content-Length: 0", _CLOSE, body=b"", line=b"POST  / HTTP/1.1"),
    "a body that ends early": _post(b"Content-Length: 0", _CLOSE, body=b""),
}


WITHOUT_BODY = frozenset({"an upgrade to HTTP/2", "a body that ends early", "two blanks in its line"})


def smuggled(host: str) -> bytes:
    """What is hidden, when the sprite's host is that."""
    return SMUGGLED.replace(b"HOST", host.encode())


def of(requests: dict[str, bytes], name: str, host: str) -> bytes:
    """The bytes to send to that sprite's host."""
    size = len(smuggled(host))
    filled = requests[name].replace(b"LENGTH", b"%d" % size).replace(b"SIZE", b"%x" % size)
    return filled.replace(b"HOST", host.encode())


def requests_in(received: list[bytearray]) -> list[tuple[bytes, bytes]]:
    """Line and body of every whole request that a server was sent, as a reader that is not ours reads them."""
    found = []
    for record in received:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(bytes(record))
        line, body = b"", b""
        while isinstance(event := connection.next_event(), h11.Event) and not isinstance(event, h11.ConnectionClosed):
            if isinstance(event, h11.Request):
                line, body = event.method + b" " + event.target, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append((line, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    break
                connection.start_next_cycle()
    return found
