"""Statistics: intervals, paired comparisons, calibration, selective answering. Pure functions of numbers, seeded.

Knows nothing of tasks, engines or reports. Every interval is two-sided 95% unless `level` says otherwise; every bound
called upper or lower is one-sided.
"""

from insource.stats.agreement import Agreement, agreement
from insource.stats.betting import e_value, mean_interval
from insource.stats.calibration import (
    Bin,
    brier,
    calibration_bins,
    calibration_interval,
    expected_calibration_error,
    fit_scale,
    fit_temperature,
    scaled,
)
from insource.stats.intervals import (
    Floats,
    binomial_cdf,
    bootstrap,
    clopper_pearson,
    clopper_pearson_lower,
    clopper_pearson_upper,
    resample,
    wilson,
    zero_failures_upper,
)
from insource.stats.paired import Difference, mcnemar, paired_bootstrap, paired_proportions, undrawn
from insource.stats.quantiles import quantile, quantile_interval
from insource.stats.selective import (
    CurvePoint,
    Limited,
    aurc,
    coverage_at_risk,
    risk_coverage,
    threshold_for_risk,
    thresholds_for_risks,
)
from insource.stats.shift import Shift, shifts
from insource.stats.student import student_interval, student_quantile
from insource.stats.trend import Trend, trend
from insource.stats.two_samples import share_difference

__all__ = [
    "Agreement",
    "Bin",
    "CurvePoint",
    "Difference",
    "Floats",
    "Limited",
    "Shift",
    "Trend",
    "agreement",
    "aurc",
    "binomial_cdf",
    "bootstrap",
    "brier",
    "calibration_bins",
    "calibration_interval",
    "clopper_pearson",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "coverage_at_risk",
    "e_value",
    "expected_calibration_error",
    "fit_scale",
    "fit_temperature",
    "mcnemar",
    "mean_interval",
    "paired_bootstrap",
    "paired_proportions",
    "quantile",
    "quantile_interval",
    "resample",
    "risk_coverage",
    "scaled",
    "share_difference",
    "shifts",
    "student_interval",
    "student_quantile",
    "threshold_for_risk",
    "thresholds_for_risks",
    "trend",
    "undrawn",
    "wilson",
    "zero_failures_upper",
]
