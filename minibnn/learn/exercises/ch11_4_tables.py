"""A product by tables of sums

x is -1 and +1, of shape (n, k); dz is real, of shape (n, m). The weight
gradient is dW = x.T @ dz. Rows of dz are taken in groups of `size`.

1. table_of_sums(rows): all sums of r rows, each with a plus or a minus, as
   an array of shape (2^r, m). Entry e adds row i if bit i of e is 1, and
   subtracts it if bit i is 0; bit 0 is the lowest. For rows a and b:

       entry 0: -a - b    entry 1: a - b    entry 2: -a + b    entry 3: a + b

2. entries(x): x of shape (r, k). For each of the k columns the number of the
   entry that it needs: bit i is 1 if x[i] is +1. They are an index, so
   integers, and a group may have more than 8 rows.

3. product_by_tables(x, dz, size): dW, by a call of table_of_sums and one of
   entries for each group. The last group may be smaller.

4. best_size(K): how many rows of dz a group should have, from 1 to 16, if dW
   has K rows. A group of r rows costs 2 * 2^r additions for the table, and K
   for the look-ups. Find the r with the fewest additions for each row of the
   group.
"""

import numpy as np


def table_of_sums(rows):
    """All sums of the rows with signs, shape (2^r, m)."""
    # hole: it grows from one entry, 0, by doubling
    table = np.zeros((1, rows.shape[1]))
    for row in rows:
        table = np.concatenate([table - row, table + row])
    return table
    # end of hole


def entries(x):
    """The entry of the table that each column of x needs, shape (k,)."""
    return (2 ** np.arange(len(x))) @ (x > 0)  # hole: whole numbers


def product_by_tables(x, dz, size):
    """x.T @ dz, by a table for each group of rows."""
    # hole: group by group
    dW = np.zeros((x.shape[1], dz.shape[1]))
    for i in range(0, len(x), size):
        dW += table_of_sums(dz[i : i + size])[entries(x[i : i + size])]
    return dW
    # end of hole


def best_size(K):
    """The group size from 1 to 16 with the fewest additions for each of its rows."""
    return min(range(1, 17), key=lambda r: (2 * 2**r + K) / r)  # hole: compare costs


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake
from minibnn.learn.grade import with_others

HINTS = [
    "Begin with a table of one entry, zeros of shape (1, m). Each row makes it twice as long: "
    "np.concatenate([table - row, table + row]). The first row is then the lowest bit.",
    "entries: the bit of row i is worth 2^i. So the number is the sum of 2**i where x[i] > 0.",
    "product_by_tables: for i in range(0, len(x), size), take rows i to i + size of dz and of x. "
    "table[entries(...)] has one row for each row of dW; add it to what is there.",
    "best_size: the cost for each row of the group is (2 * 2**r + K) / r. min(..., key=...) finds "
    "the least.",
]

_rng = np.random.default_rng(4)


def _signs(*shape):
    return np.where(_rng.random(shape) < 0.5, -1.0, 1.0)


def _reals(*shape):
    return _rng.integers(-20, 21, shape) / 4


ROWS = [np.array([[1.0, 10.0], [2.0, 20.0]]), _reals(3, 2), _reals(1, 4)]
SIGNS = [np.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]]), _signs(3, 5), _signs(12, 4)]
PRODUCTS = [
    (_signs(6, 4), _reals(6, 3), 3),
    (_signs(7, 3), _reals(7, 2), 3),
    (_signs(5, 4), _reals(5, 2), 8),
    (_signs(10, 3), _reals(10, 2), 9),
]


def as_index(entries):
    """What the entries look up."""
    found = np.asarray(entries(SIGNS[1]))
    return {
        "type of entries(x)": "integers" if found.dtype.kind in "iu" else "no integers",
        "entries(x)": found,
    }


def groups(product_by_tables):
    """The rows of each table that is asked for."""
    x, dz, _ = PRODUCTS[3]
    rows = []

    def watched(group):
        rows.append(str(len(group)))
        return table_of_sums(group)

    dW = with_others(product_by_tables, {"table_of_sums": watched})(x, dz, 3)
    return {"rows of each table, for 10 rows and size=3": " ".join(rows), "dW": dW}


CHECKS = [
    Agrees(table_of_sums, ROWS, "the table", points=2),
    Agrees(entries, SIGNS, "the entries"),
    Probe(entries, as_index, "entries that can be an index"),
    Agrees(product_by_tables, PRODUCTS, "the product"),
    Probe(product_by_tables, groups, "a table for each group"),
    Agrees(best_size, [1, 16, 256, 1024, 4096, 2**20], "the best size of a group"),
]


@mistake(table_of_sums, "a table whose first row is the highest bit")
def highest_first(rows):
    """All sums are there, in another order. The lowest bit of an entry belongs to the first row, so
    entry 1 adds the first row and no other. Each new row doubles the table: all sums with
    the row subtracted, and below them all with it added."""
    return table_of_sums(rows[::-1])


@mistake(table_of_sums, "a table of subsets, without minus")
def subsets(rows):
    """These are the sums of subsets: a row is added or left out. With signs a row is never left
    out; it is added or subtracted."""
    table = np.zeros((1, rows.shape[1]))
    for row in rows:
        table = np.concatenate([table, table + row])
    return table


@mistake(table_of_sums, "a table with plus and minus exchanged")
def exchanged(rows):
    """The bit 0 stands for -1, so entry 0 subtracts all rows."""
    return table_of_sums(-rows)


@mistake(entries, "entries with a bit of 1 for -1")
def ones_for_minus(x):
    """The bit 1 stands for +1: the row is added."""
    return (2 ** np.arange(len(x))) @ (x < 0)


@mistake(entries, "entries whose first row is the highest bit")
def first_is_highest(x):
    """Bit 0, worth 1, belongs to the first row, and the last row is worth the most."""
    return entries(x[::-1])


@mistake(entries, "a count of the plus signs")
def count(x):
    """This is how many signs are +1. Which ones they are matters as well: row i is worth 2^i."""
    return (x > 0).sum(axis=0)


@mistake(entries, "entries of one byte")
def one_byte(x):
    """A byte has 8 bits, so it can say which signs 8 rows have. A group may have more rows: use
    larger integers."""
    return np.packbits(x > 0, axis=0, bitorder="little")[0]


@mistake(entries, "entries by np.packbits in the big order")
def big_order(x):
    """np.packbits puts the first row into the highest bit of a byte, unless it is told
    bitorder="little". And a byte is enough for 8 rows only: use larger integers."""
    return np.packbits(x > 0, axis=0)[0]


@mistake(entries, "entries that are floats")
def floats(x):
    """The numbers are right, but floats cannot be an index. Add powers of an integer, or convert
    the sum."""
    return (2.0 ** np.arange(len(x))) @ (x > 0)


@mistake(product_by_tables, "a product without a table for each group")
def without_tables(x, dz, size):
    """It is right, but product_by_tables itself did not call table_of_sums. Call it for each group
    of rows of dz, and look up the entries."""
    return x.T @ dz


@mistake(product_by_tables, "a product in groups of 8, whatever the size")
def groups_of_8(x, dz, size):
    """It is right, but a group has to have `size` rows."""
    dW = 0
    for i in range(0, len(x), 8):
        dW = dW + table_of_sums(dz[i : i + 8])[entries(x[i : i + 8])]
    return dW


@mistake(product_by_tables, "a product of the last group alone")
def last_group(x, dz, size):
    """Each group is a part of the sum over the samples. Add it to what is there: `+=`."""
    start = (len(x) - 1) // size * size
    return product_by_tables(x[start:], dz[start:], size)


@mistake(product_by_tables, "a product that drops the rest")
def drops_rest(x, dz, size):
    """If the number of rows is not a multiple of the size, some rows are left. They are a group,
    too, with a smaller table."""
    full = len(x) // size * size
    return product_by_tables(x[:full], dz[:full], size)


@mistake(product_by_tables, "a product with the signs of the first group")
def first_signs(x, dz, size):
    """Each group of rows of dz needs the signs of the same rows of x."""
    dW = np.zeros((x.shape[1], dz.shape[1]))
    for i in range(0, len(x), size):
        rows = dz[i : i + size]
        dW += table_of_sums(rows)[entries(x[: len(rows)])]
    return dW


@mistake(best_size, "a cost that is not divided by the rows")
def not_divided(K):
    """A small group is cheap, but there are more of them. Compare the cost for each row: divide
    by r."""
    return min(range(1, 17), key=lambda r: 2 * 2**r + K)


@mistake(best_size, "a cost without the table")
def without_table(K):
    """The look-ups alone get cheaper with every row. But the table doubles with every row, and has
    to be made."""
    return 16


@mistake(best_size, "a fixed size")
def eight(K):
    """Eight is good for about a thousand rows of dW. Few rows do not repay a table of 256
    entries."""
    return 8
