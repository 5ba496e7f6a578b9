"""A place with an image, on this machine, that answers well or badly."""

import http.server
import re
import ssl
import subprocess
import threading


class Place:
    """address: of the one file, `data`; asked: the ranges that were asked for

    spoil: called with (number of the request, head lines, body), gives (head lines, body, whether to hang up)
    """

    def __init__(self, data, spoil=None, certificate=None):
        self.data, self.spoil, self.asked, self.tag = data, spoil, [], "one"
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                place.answer(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        name = "https://localhost" if certificate else "http://127.0.0.1"
        self.address = f"{name}:{self._server.server_port}/box.cwu"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"]).groups())
        self.asked.append(first)
        body = self.data[first : last + 1]
        lines = [f"Content-Range: bytes {first}-{first + len(body) - 1}/{len(self.data)}",
                 f"Content-Length: {len(body)}", f"ETag: {self.tag}"]  # fmt: skip
        lines, over = ["HTTP/1.1 206 Partial Content", *lines], False
        if self.spoil:
            lines, body, over = self.spoil(len(self.asked), lines, body)
        handler.wfile.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body)
        handler.close_connection = over


def certificate(folder, name="localhost"):
    """(certificate, key) made by OpenSSL's own program, and the DER of the first."""
    made, key, der = folder / "own.pem", folder / "own.key", folder / "own.der"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", made]
    subprocess.run(words, check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-in", made, "-outform", "DER", "-out", der], check=True, capture_output=True)
    return (made, key), der.read_bytes()
