"""Least-squares collocation: a trend plus a shift correlated over distance, with control known to be noisy.

Also called kriging or a Gaussian process. Unlike a rubber sheet it does not reproduce the noise of control,
and it says how sure it is at every place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .covariance import Covariance, estimate_covariance
from .errors import ControlError
from .one_piece import OnePiece
from .posterior import Posterior
from .scatter import Scatter
from .support import Support, count_places
from .table import Table
from .tabulated import TOLERANCE_M, Tabulated

LEAST_PLACES = 5
"""Fewer tell nothing of noise and correlation; with a covariance given, one is enough."""

REACH_LENGTHS = 0.25
"""Within a quarter of the correlation's length one control point speaks for its surroundings."""

FEW = 8


@dataclass(frozen=True)
class Kriging(OnePiece):
    """Collocation evaluated exactly at each place: for hold-out and as the source of a table.

    Its last bits may depend on the other rows of a call, so it is not handed out as a shift field.

    Parameters
    ----------
    posterior
        The prediction given control.
    scatter
        Where control scatters more than its noise.
    """

    posterior: Posterior
    scatter: Scatter
    support: Support
    noise_m: float

    @classmethod
    def fit(cls, control: Control, covariance: Covariance | None = None) -> Self:
        """Fit by kriging with a trend, the covariance estimated by restricted likelihood unless given.

        Parameters
        ----------
        control
            Control of one piece: five different places or more, or any number with a covariance.
        covariance
            The covariance to use, as when a small piece borrows that of all pieces.

        Raises
        ------
        ControlError
            If there is too little control.
        """
        places = count_places(control.before)
        least = LEAST_PLACES if covariance is None else 1
        if places < least:
            raise ControlError(
                f"Collocation needs control at {least} or more different places to tell shift from noise; "
                f"{places} given. Add control or choose a simpler method."
            )
        covariance = covariance or estimate_covariance([control])
        least_reach_m = REACH_LENGTHS * covariance.length_m if places < FEW else 0.0
        support = Support.around(control.before, least_reach_m)
        posterior = Posterior.given(control, covariance)
        shift, error_m = posterior.at(control.before)
        scatter = Scatter.of(control, covariance, control.shift - shift, error_m)
        return cls(posterior, scatter, support, covariance.noise_m)

    def at(self, points: Points) -> tuple[Points, NDArray[np.float64]]:
        """Shift ``(n, 2)`` [m] and radial standard error ``(n,)`` [m] of the field, noise of control left out."""
        shift, error_m = self.posterior.at(points)
        return shift, np.sqrt(error_m**2 + self.scatter.at(points))

    def noise_of(self, code: NDArray[np.str_]) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of control points of the given codes about the field."""
        covariance = self.posterior.covariance
        return np.sqrt(covariance.variance_m2.sum() * covariance.noise(code))

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres."""
        return self.at(points)[0]

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of the field, noise of control left out."""
        return self.at(points)[1]


@dataclass(frozen=True)
class Collocation(Tabulated):
    """Collocation of one smooth piece, tabulated.

    Parameters
    ----------
    covariance
        The covariance used: given, or estimated from the control.

    Examples
    --------
    >>> before = np.array([[e, n] for e in range(0, 500, 100) for n in range(0, 500, 100)], dtype=float)
    >>> Collocation.fit(Control(before, before + 2.0))(np.array([[210.0, 330.0]])).round(3)
    array([[212., 332.]])
    """

    covariance: Covariance

    @classmethod
    def fit(cls, control: Control, covariance: Covariance | None = None, tolerance_m: float = TOLERANCE_M) -> Self:
        """Fit as ``Kriging.fit`` does, and tabulate.

        Parameters
        ----------
        control, covariance
            As for ``Kriging.fit``.
        tolerance_m
            Largest deviation in metres of the table from the exact prediction.

        Raises
        ------
        ControlError
            If there is too little control.
        """
        return cls.of_exact(Kriging.fit(control, covariance), tolerance_m)

    @classmethod
    def of_exact(cls, exact: Kriging, tolerance_m: float = TOLERANCE_M) -> Self:
        """The table of an exact prediction, both of whose figures come from one solution."""
        table = Table.of(exact.at, exact.covers, exact.support.extent(), tolerance_m)
        return cls(table, exact.support, exact.noise_m, exact.posterior.covariance)
