"""What a request chose for one of its inputs, beyond times and clouds.

Refuses to know which collection has which choice: those that a collection does not have are left at their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Resampling = Literal["NEAREST", "BILINEAR", "BICUBIC"]
BackCoeff = Literal["BETA0", "SIGMA0_ELLIPSOID", "GAMMA0_ELLIPSOID", "GAMMA0_TERRAIN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The filters and processing options of one input; small and picklable."""

    wanted: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Name of a scene's trait, such as ``polarization`` -> the values that will do. What is not named is free."""
    upsampling: Resampling = "NEAREST"
    """Where the request is finer than the source."""
    downsampling: Resampling = "NEAREST"
    """Where the request is coarser than the source."""
    harmonize_values: bool = True
    """Sentinel-2: DN of all processing baselines alike, and none below 0."""
    dem_instance: str | None = None
    """Which heights: of the DEM itself, or for the orthorectification of radar. None takes the collection's own."""
    egm: bool = False
    """DEM: heights above the ellipsoid instead of the sea."""
    clamp_negative: bool = False
    """DEM: 0 in place of heights below the sea; of MAPZEN alone."""
    back_coeff: BackCoeff = "GAMMA0_ELLIPSOID"
    orthorectify: bool = False
    lee_window_px: tuple[int, int] | None = None
    """(x, y) of the LEE speckle filter; None does not filter."""

    def admit(self, traits: Mapping[str, str]) -> bool:
        """Whether a scene of these traits will do. Pure."""
        return all(traits.get(name) in values for name, values in self.wanted)

    @property
    def terrain_corrected(self) -> bool:
        """Whether the radiometric terrain correction is on. Pure."""
        return self.back_coeff == "GAMMA0_TERRAIN"
