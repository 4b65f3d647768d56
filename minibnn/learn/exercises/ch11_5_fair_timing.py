"""Time it fairly

Which of several functions is faster? `jobs` is a list of them, each without
arguments. Write `medians`, which returns a list: for each job the median of
`rounds` measured times.

- First call each job once, in the order of the list, and do not measure
  that: the first call may be slow.
- Then make `rounds` rounds. In a round, each job is called once, in the
  order of the list. Measure each call by itself.

`clock()` gives the time in seconds, like time.perf_counter. Read it right
before and right after each measured call, and nowhere else.

Then say how many times as fast the second job is as the first: the median of
the ratios, round by round, of `first` and `second`, the times of two jobs in
the same rounds. Ratios of a round compare two calls that stood next to each
other, whatever the machine did in other rounds.
"""

import statistics


def medians(jobs, rounds, clock):
    """The median time of each job, in rounds in which they take turns."""
    # hole: one call each that is not measured; then the rounds
    times = [[] for _ in jobs]
    for job in jobs:
        job()
    for _ in range(rounds):
        for job, found in zip(jobs, times, strict=True):
            start = clock()
            job()
            found.append(clock() - start)
    return [statistics.median(found) for found in times]
    # end of hole


def times_as_fast(first, second):
    """The median of the ratios of two lists of times."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))  # hole: a number


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "A list of lists keeps the times: times = [[] for job in jobs].",
    "The loop over rounds is the outer one, the loop over jobs the inner one.",
    "start = clock(), then job(), then clock() - start. statistics.median takes a list.",
    "times_as_fast: zip(first, second) gives the two times of each round.",
]


class Machine:
    """A machine with a clock of its own, on which jobs take as long as they are told to."""

    def __init__(self, seconds, first=1.0, slower=0.0, late=()):
        self.seconds, self.first, self.slower, self.late = seconds, first, slower, late
        self.now, self.calls, self.readings = 100.0, "", 0

    def clock(self):
        self.readings += 1
        return self.now

    def job(self, number):
        """A job of this machine."""

        def run():
            count = self.calls.count("ABC"[number])
            self.calls += "ABC"[number]
            spent = self.seconds[number] * (1 + self.slower * (len(self.calls) - 1))
            if count == 0:
                spent *= self.first
            if (number, count) in self.late:
                spent *= 20
            self.now += spent

        return run

    def measure(self, medians, rounds):
        return medians([self.job(i) for i in range(len(self.seconds))], rounds, self.clock)


def calls(medians):
    """In which order jobs are called, and how often the clock is read."""
    machine = Machine([2.0, 3.0, 1.0])
    found = machine.measure(medians, 4)
    return {
        "calls": " ".join(machine.calls),
        "readings of the clock": machine.readings,
        "medians, if nothing disturbs": found,
    }


def on(title, rounds, *machine, **options):
    """A probe: the medians on such a machine."""

    def probe(medians):
        return {title: Machine(*machine, **options).measure(medians, rounds)}

    return probe


SLOW_START = on("medians, if first calls take ten times as long", 2, [2.0, 3.0], first=10.0)
LATE = on("medians, if one call of A is 20 times as slow", 5, [2.0, 3.0], late=[(0, 3)])
WARM = on("medians, if each call is slower than the one before", 4, [2.0, 2.0], slower=0.25)

FIRST, SECOND = [2.0, 2.5, 60.0, 3.0, 2.0], [1.0, 1.0, 20.0, 2.0, 8.0]
CHECKS = [
    Probe(medians, calls, "who is called when, and when the clock is read"),
    Probe(medians, SLOW_START, "slow first calls"),
    Probe(medians, LATE, "a call that is disturbed"),
    Probe(medians, WARM, "a machine that gets slower"),
    Agrees(times_as_fast, [(FIRST, SECOND), ([3.0, 8.0], [2.0, 2.0])], "how many times as fast"),
]


def _rounds(jobs, rounds, clock, warm=True):
    """The times of each job, fairly."""
    times = [[] for _ in jobs]
    for round_ in range(rounds + warm):
        for job, found in zip(jobs, times, strict=True):
            if warm and round_ == 0:
                job()
                continue
            start = clock()
            job()
            found.append(clock() - start)
    return times


@mistake(medians, "a mean in the place of the median")
def means(jobs, rounds, clock):
    """One call that is disturbed moves the mean as much as all others together. The median does
    not care how late it was."""
    return [statistics.mean(found) for found in _rounds(jobs, rounds, clock)]


@mistake(medians, "a timing of the first call, too")
def first_too(jobs, rounds, clock):
    """A first call may be slow: memory is fetched, files are read. Call each job once before you
    measure anything."""
    return [statistics.median(found) for found in _rounds(jobs, rounds, clock, warm=False)]


@mistake(medians, "a timing of one job after the other")
def one_after_another(jobs, rounds, clock):
    """All rounds of a job come before those of the next. If the machine gets slower on the way, it
    looks like a difference between the jobs. Let them take turns: the loop over the rounds
    is the outer one."""
    for job in jobs:
        job()
    return [statistics.median(_rounds([job], rounds, clock, warm=False)[0]) for job in jobs]


@mistake(medians, "a timing of one job after the other, first calls included")
def one_with_its_first(jobs, rounds, clock):
    """First call each job once, then begin with the rounds. In a round every job has its turn: the
    loop over the rounds is the outer one."""
    return [statistics.median(_rounds([job], rounds, clock)[0]) for job in jobs]


@mistake(medians, "a first round that is timed and dropped")
def dropped(jobs, rounds, clock):
    """It works, but the first calls are not to be timed at all: call the jobs, and leave the clock
    alone."""
    times = _rounds(jobs, rounds + 1, clock, warm=False)
    return [statistics.median(found[1:]) for found in times]


@mistake(medians, "a clock that is read once between two calls")
def laps(jobs, rounds, clock):
    """The end of a call is taken for the start of the next, so all that you do between them counts
    as well. Read the clock twice for each call."""
    times = [[] for _ in jobs]
    for job in jobs:
        job()
    for _ in range(rounds):
        before = clock()
        for job, found in zip(jobs, times, strict=True):
            job()
            now = clock()
            found.append(now - before)
            before = now
    return [statistics.median(found) for found in times]


@mistake(medians, "a list of upper medians")
def upper(jobs, rounds, clock):
    """Of an even number of times the median is the mean of the two in the middle."""
    return [sorted(found)[len(found) // 2] for found in _rounds(jobs, rounds, clock)]


@mistake(medians, "a list of the least times")
def least(jobs, rounds, clock):
    """The least time says what the machine can do on its best day. Asked for is a typical time:
    the median."""
    return [min(found) for found in _rounds(jobs, rounds, clock)]


@mistake(medians, "a clock that starts with the round")
def from_the_round(jobs, rounds, clock):
    """The clock is read at the start of the round, so a job's time contains those of the jobs
    before it. Read it right before each call."""
    times = [[] for _ in jobs]
    for job in jobs:
        job()
    for _ in range(rounds):
        start = clock()
        for job, found in zip(jobs, times, strict=True):
            job()
            found.append(clock() - start)
    return [statistics.median(found) for found in times]


@mistake(medians, "a list of total times")
def totals(jobs, rounds, clock):
    """These are the times of all rounds together. A median is one of the times, or lies between
    two of them."""
    return [sum(found) for found in _rounds(jobs, rounds, clock)]


@mistake(times_as_fast, "a ratio upside down")
def upside_down(first, second):
    """If the second takes half of the time, it is twice as fast: first / second."""
    return statistics.median(b / a for a, b in zip(first, second, strict=True))


@mistake(times_as_fast, "a ratio of medians")
def of_medians(first, second):
    """The two medians may come from different rounds, in which the machine was not the same. Divide
    within each round first."""
    return statistics.median(first) / statistics.median(second)


@mistake(times_as_fast, "a mean of ratios")
def mean_of_ratios(first, second):
    """One strange round moves the mean. Take the median of the ratios."""
    return statistics.mean(a / b for a, b in zip(first, second, strict=True))


@mistake(times_as_fast, "a ratio of sums")
def of_sums(first, second):
    """The slow rounds dominate a sum. Each round has the same say if you take the median of
    the ratios."""
    return sum(first) / sum(second)
