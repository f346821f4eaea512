"""The accounts the service sells or gives away, as what their limits are.

Refuses to enforce any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one account may use; None does not limit."""

    requests_per_minute: float | None = None
    requests_per_month: float | None = None
    pu_per_minute: float | None = None
    pu_per_month: float | None = None


# www.sentinel-hub.com/pricing (an older copy), the documentation's public test user, and CDSE's page "Quotas" (2025)
PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "test-user": Plan(requests_per_minute=10, pu_per_minute=10),
        "trial": Plan(requests_per_minute=300, requests_per_month=30_000, pu_per_minute=300, pu_per_month=30_000),
        "exploratory": Plan(
            requests_per_minute=300, requests_per_month=100_000, pu_per_minute=300, pu_per_month=30_000
        ),
        "basic": Plan(requests_per_minute=500, requests_per_month=700_000, pu_per_minute=500, pu_per_month=70_000),
        "enterprise-s": Plan(
            requests_per_minute=600, requests_per_month=8_000_000, pu_per_minute=1_000, pu_per_month=400_000
        ),
        "enterprise-l": Plan(
            requests_per_minute=1_200, requests_per_month=10_000_000, pu_per_minute=2_000, pu_per_month=1_000_000
        ),
        "cdse-general": Plan(
            requests_per_minute=300, requests_per_month=10_000, pu_per_minute=300, pu_per_month=10_000
        ),
    }
)


def find_plan(name: str | None) -> Plan:
    """The plan of this name; None names one without limits. Pure; raises ValueError with the names there are."""
    if name is None:
        return Plan()
    if name not in PLANS:
        raise ValueError(f"there is no plan {name!r}; there are {', '.join(PLANS)}")
    return PLANS[name]
