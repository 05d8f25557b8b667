"""What Lightning Lens listens with: a server that keeps the records posted to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(ThreadingHTTPServer):
    """Takes records as the proxy of Lightning Lens does: one JSON object a request, of which it keeps nine fields."""

    FIELDS = (
        "event_type",
        "channel_id",
        "capacity",
        "local_balance",
        "remote_balance",
        "balance_ratio",
        "tx_count",
        "success_rate",
        "avg_amount",
    )

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ProxyHandler)
        self.records: list[dict] = []
        self.status_of = lambda record: 200

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.shutdown()
        self.server_close()


class ProxyHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.records.append({"path": self.path, **record})
        self.send_response(self.server.status_of(record))
        self.end_headers()
        self.wfile.write(b'{"status": "success"}')

    def log_message(self, *_):
        """Keep quiet."""
