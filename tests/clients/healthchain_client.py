"""What HealthChain's client does with the service. Run by the interpreter of its own environment.

A job is read as JSON from standard input; what came of it is written as JSON to standard output.
"""

import json
import logging
import sys
from typing import Any

import httpx
from healthchain.models import CDSRequest
from healthchain.models.responses.cdsdiscovery import CDSServiceInformation
from healthchain.models.responses.cdsresponse import CDSResponse
from healthchain.sandbox import SandboxClient
from healthchain.sandbox.requestconstructors import CdsRequestConstructor
from pydantic import BaseModel, ValidationError

Json = dict[str, Any]


class Complaints(logging.Handler):
    """Keeps what the client logs as an error: it raises nothing."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def read(model: type[BaseModel], said: Json) -> Json:
    """What one of the client's own models makes of an answer, or what it has against it."""
    try:
        return {"read": model(**said).model_dump(mode="json", exclude_none=True)}
    except ValidationError as error:
        faults = [{"at": list(one["loc"]), "type": one["type"]} for one in error.errors()]
        return {"faults": faults}


def patched(response: Json) -> Json:
    """The response with the two members that the client's models want and the specification does not."""
    for card in response.get("cards", ()):
        for suggestion in card.get("suggestions", ()):
            suggestion.setdefault("isRecommended", None)
        for link in card.get("links", ()):
            link.setdefault("autoLaunchable", None)
    return response


class WholeRequest(CDSRequest):
    """A request with all of its context. The client's own leaves out what the context of a hook adds to that of all."""

    def model_dump(self, **options: Any) -> Json:
        """As it is sent."""
        dumped: Json = super().model_dump(serialize_as_any=True, **options)
        return dumped


def send(job: Json) -> Json:
    """Send one request; from a file as the client does it, or with a context, for which it has no loader."""
    complaints = Complaints()
    logging.getLogger("healthchain").addHandler(complaints)
    client = SandboxClient(url=job["url"], workflow=job["workflow"])
    if "context" in job:
        with open(job["file"], encoding="utf-8") as file:
            prefetch = json.load(file)
        request = CdsRequestConstructor().construct_request(
            prefetch_data=prefetch, workflow=client.workflow, context=job["context"]
        )
        client.requests.append(WholeRequest(**dict(request)) if job["whole"] else request)
    else:
        client.load_from_path(job["file"])
    if "patient" in job:
        # Else it is a random one.
        client.requests[0].context.patientId = job["patient"]
    (response,) = client.send_requests()
    return {
        "request": client.get_request_data()[0],
        "response": response,
        "errors": complaints.said,
        "unaltered": read(CDSResponse, response),
        "patched": read(CDSResponse, patched(json.loads(json.dumps(response)))),
    }


def main() -> None:
    """One job."""
    logging.disable(logging.INFO)
    job = json.load(sys.stdin)
    if job["task"] == "discover":
        said = read(CDSServiceInformation, httpx.get(job["url"]).raise_for_status().json())
    else:
        said = send(job)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
