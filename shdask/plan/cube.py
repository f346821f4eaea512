"""CubePlan: the whole of a job, by its public name.

Refuses to know how anything is fetched or stored.
"""

from __future__ import annotations

from shdask.plan.group import GroupPlan as CubePlan

__all__ = ["CubePlan"]
