"""Where the service answers."""

from typing import Final

CHECK_CREDENTIALS: Final = "/v1/credentials/check"
HEALTH_LIVE: Final = "/health/live"
HEALTH_READY: Final = "/health/ready"
METRICS: Final = "/metrics"
OPENAPI: Final = "/openapi.json"
