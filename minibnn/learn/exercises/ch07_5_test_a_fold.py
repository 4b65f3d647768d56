"""A test that catches wrong thresholds

Somebody hands you a function

    threshold, falling = fold(gamma, beta, mean, var, epsilon, K)

that makes an integer comparison of a channel's batch norm and sign. You do not
see its code. Write the test that it has to pass: raise an AssertionError if a
bit is wrong. The bit of a sum a is +1

    by the threshold:   if a <= threshold where falling, else if a >= threshold
    by batch norm:      if gamma (a - mean) / sqrt(var + epsilon) + beta >= 0

Sums of K signs are -K, -K + 2, ..., K: few enough to try them all.

The check runs your test with a right fold, which has to pass, and with wrong
ones, each of which has to fail. They differ in *which channels* they get
wrong. So choose channels that differ: in the signs of gamma and beta, in
whether tau is a whole number, in the size of var, and in whether any sum gives
+1 at all. Prefer numbers such as 0.5 and 2: with 0.1, rounding may decide
about a sum that meets tau. What your test returns or prints does not count.
"""

from math import ceil, floor, inf, sqrt


def check_fold(fold):
    """Raise an AssertionError if the fold gives a wrong bit."""
    # hole: for several channels, and for all sums, compare the two bits
    for gamma in (2.0, 0.5, -0.5, 0.0):
        for beta in (-1.0, 0.0, 0.75):
            for mean in (-3.0, 0.5, 1.25, 4.0):
                for var, epsilon in ((1.0, 0.0), (6.0, 0.25)):
                    for K in (8, 9):
                        threshold, falling = fold(gamma, beta, mean, var, epsilon, K)
                        for a in range(-K, K + 1, 2):
                            y = gamma * (a - mean) / sqrt(var + epsilon) + beta
                            bit = a <= threshold if falling else a >= threshold
                            assert bit == (y >= 0), (gamma, beta, mean, var, a)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import CatchesMutants, mistake, mutant

HINTS = [
    "Inside: threshold, falling = fold(...), then for a in range(-K, K + 1, 2) compute both bits "
    "and assert that they are equal.",
    "Around it, loops over a few values of each number. Take gammas of both signs and 0; betas of "
    "both signs and 0.",
    "With beta = 0 the threshold is the mean itself. Take a mean that is a sum which can occur, "
    "and one between two whole numbers; and a var that is not 1, with an epsilon that matters, "
    "such as 6 and 0.25.",
]


def right_fold(gamma, beta, mean, var, epsilon, K):
    """What has to pass."""
    if gamma == 0:
        return (-K - 1 if beta >= 0 else K + 1), False
    tau = mean - beta * sqrt(var + epsilon) / gamma
    threshold, outwards = (floor(tau), 1) if gamma < 0 else (ceil(tau), -1)

    def positive(a):
        return gamma * (a - mean) / sqrt(var + epsilon) + beta >= 0

    if positive(threshold + outwards):  # where tau is rounded, the formula of the task decides
        threshold += outwards
    elif not positive(threshold):
        threshold -= outwards
    return threshold, gamma < 0


CHECKS = [CatchesMutants(check_fold, right_fold, "your test, tested", points=8)]


@mutant(check_fold, "a negative gamma does not turn the comparison around")
def never_falling(gamma, beta, mean, var, epsilon, K):
    return right_fold(gamma, beta, mean, var, epsilon, K)[0], False


@mutant(check_fold, "a sum that meets the threshold exactly gives -1")
def strict(gamma, beta, mean, var, epsilon, K):
    threshold, falling = right_fold(gamma, beta, mean, var, epsilon, K)
    if gamma == 0 or threshold != mean - beta * sqrt(var + epsilon) / gamma:
        return threshold, falling
    return threshold + (-1 if falling else 1), falling


@mutant(check_fold, "rising thresholds are rounded down")
def floored(gamma, beta, mean, var, epsilon, K):
    if gamma <= 0:
        return right_fold(gamma, beta, mean, var, epsilon, K)
    return floor(mean - beta * sqrt(var + epsilon) / gamma), False


@mutant(check_fold, "thresholds are cut at the point, towards zero")
def truncated(gamma, beta, mean, var, epsilon, K):
    threshold, falling = right_fold(gamma, beta, mean, var, epsilon, K)
    tau = inf if gamma == 0 else mean - beta * sqrt(var + epsilon) / gamma
    return (threshold if gamma == 0 else int(tau)), falling


@mutant(check_fold, "beta has the wrong sign")
def wrong_beta(gamma, beta, mean, var, epsilon, K):
    return right_fold(gamma, -beta if gamma else beta, mean, var, epsilon, K)


@mutant(check_fold, "the variance is used as a standard deviation")
def no_root(gamma, beta, mean, var, epsilon, K):
    return right_fold(gamma, beta, mean, (var + epsilon) ** 2, 0.0, K)


@mutant(check_fold, "a threshold above K is cut to K")
def cut(gamma, beta, mean, var, epsilon, K):
    threshold, falling = right_fold(gamma, beta, mean, var, epsilon, K)
    return min(threshold, K), falling


@mutant(check_fold, "a gamma of 0 always gives +1")
def zero_always(gamma, beta, mean, var, epsilon, K):
    return right_fold(gamma, abs(beta) if gamma == 0 else beta, mean, var, epsilon, K)


def _channels(fold, channels):
    for gamma, beta, mean, var, epsilon, K in channels:
        threshold, falling = fold(gamma, beta, mean, var, epsilon, K)
        for a in range(-K, K + 1, 2):
            y = gamma * (a - mean) / sqrt(var + epsilon) + beta
            assert (a <= threshold if falling else a >= threshold) == (y >= 0)


@mistake(check_fold, "a test that passes for all of them")
def nothing(fold):
    """A test has to fail for something: assert, for each sum, that the two bits are equal. A True
    or False that is returned or printed counts for nothing."""
    fold(2.0, 0.75, 1.25, 6.0, 0.25, 8)


@mistake(check_fold, "a test that fails for all of them")
def own_threshold(fold):
    """It refuses the right fold, too. If you compare thresholds: two of them can give the same
    bits, such as 5 and 6 if all sums are even. Compare bits."""
    assert fold(2.0, 0.75, 1.25, 6.0, 0.25, 8) == (inf, False)


@mistake(check_fold, "a test with positive gammas only")
def positive_only(fold):
    """Most networks are trained with gammas that start at 1, and stay positive. The day one of
    them does not, this test has said nothing. Take negative ones, and 0."""
    _channels(fold, [(g, b, m, v, e, 8) for g in (2.0, 0.5) for b in (-1.0, 0.0, 0.75)
                     for m in (-3.0, 0.5, 1.25, 4.0) for v, e in ((1.0, 0.0), (6.0, 0.25))]
              )  # fmt: skip


@mistake(check_fold, "a test in which no sum meets its threshold")
def no_ties(fold):
    """All its thresholds lie between two sums. Then it cannot tell >= from >. Take a channel in
    which batch norm gives exactly 0 for a sum that can occur."""
    _channels(fold, [(g, b, m, 6.0, 0.25, 8) for g in (2.0, -0.5, 0.0) for b in (-1.1, 0.0, 0.77)
                     for m in (-3.3, 0.55, 2.2, 4.7)])  # fmt: skip


@mistake(check_fold, "a test at beta = 0 only")
def no_beta(fold):
    """With beta = 0 the threshold is the mean, whatever the variance. Mistakes in beta and in the
    standard deviation do not show."""
    _channels(fold, [(g, 0.0, m, 6.0, 0.25, 8) for g in (2.0, -0.5, 0.0)
                     for m in (-3.0, 0.5, 1.25, 2.25, 4.0)])  # fmt: skip


@mistake(check_fold, "a test with a variance of 1 only")
def unit_variance(fold):
    """The root of 1 is 1, so a forgotten root does not show. Take other variances."""
    _channels(fold, [(g, b, m, 1.0, 0.0, 8) for g in (2.0, -0.5, 0.0) for b in (-1.0, 0.0, 0.75)
                     for m in (-3.0, 0.5, 1.25, 4.0)])  # fmt: skip
