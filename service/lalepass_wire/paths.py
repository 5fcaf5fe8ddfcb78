"""Where the service answers."""

from typing import Final

CHECK_CREDENTIALS: Final = "/v1/credentials/check"
CHANGES: Final = "/v1/changes"
LOCKED: Final = "/v1/locked"
ACKNOWLEDGE_ORDERS: Final = "/v1/orders/acknowledge"
REPORTS: Final = "/v1/reports"
CALLER: Final = "/v1/caller"
HEALTH_LIVE: Final = "/health/live"
HEALTH_READY: Final = "/health/ready"
METRICS: Final = "/metrics"
OPENAPI: Final = "/openapi.json"
