"""The server's log on standard error: lines for people, or JSON objects for collectors."""

import datetime
import json
import logging
from typing import Any

FORMATS = ("text", "json")


def set_up(log_format: str) -> None:
    """Logs this project's own lines from INFO on, everybody else's from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("serving").setLevel(logging.INFO)


def fields(**values: Any) -> dict[str, Any]:
    """The `extra` of a log call: what a JSON line has besides its message."""
    return {"fields": values}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger and message, the fields, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
