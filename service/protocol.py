"""HTTP/1.1 as the workers speak it: what is no HTTP at all is refused like everything else, as a problem."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.door import HEADERS, POLICY
from service.problems import MEDIA_TYPE, problem_of_status

_BAD_REQUEST: Final = 400
_DETAIL: Final = (
    "The bytes sent are no HTTP/1.1 request; check the request line and headers, and percent-encode the path."
)


class PlainProtocol(HttpToolsProtocol):
    """The server's own protocol; only its answer to what cannot be parsed is worded by us."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the server's words are not repeated
        """Answer bytes that are no HTTP request, and close the connection."""
        body = problem_of_status(_BAD_REQUEST, _DETAIL).model_dump_json(exclude_defaults=True).encode()
        headers = {
            "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close", **HEADERS,
            "Content-Security-Policy": POLICY,
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + body)
        self.transport.close()
