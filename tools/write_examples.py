"""Write the answer of every example anew: ``make examples``."""

import json
from pathlib import Path

from service.app import create_app

FOLDER = Path(__file__).parent.parent / "examples"


def main() -> None:
    """Post each request to the service and keep its answer."""
    client = create_app().test_client()
    for path in sorted(FOLDER.glob("*.request.json")):
        answer = client.post("/v1/evaluations", data=path.read_bytes(), content_type="application/json")
        if answer.status_code != 200:
            raise SystemExit(f"{path.name}: {answer.status_code} {answer.get_data(as_text=True)}")
        text = json.dumps(json.loads(answer.data), indent=2, ensure_ascii=False)
        Path(str(path).replace(".request.", ".answer.")).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
