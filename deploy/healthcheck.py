"""Exit 0 when the service on this machine is ready, 1 when it is not; the image has no curl."""

import http.client
import os
import sys


def ready(port: int) -> bool:
    """Whether the service says that its rules are loaded and its self-test passed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if ready(int(os.environ.get("PORT", "8000"))) else 1)
