/* Matrix products whose left operand is mostly zeros, such as the pixels of digits: zeros are skipped.
 *
 * This file is included after products.h, once for each instruction set, by products_*.c.
 *
 * The values of S that are not zero are marked by bits, packed as signs are (see products.h):
 *
 *     bit b of bits[q][r] = 1 where S(r, 32 q + b) is not 0
 *
 * A skipped product is a zero only if its other factor is finite. So all of D is checked.
 */
enum {
    SPARSE = 4,            /* at most one in so many values may differ from 0 */
    SAMPLES = 64,          /* values that `looks_sparse` takes */
    PANEL = 8,             /* vectors of a row of the result that stay in registers */
    DEPTH = 2,             /* words of summands whose part of a panel is used together: up to 32 kB */
    SPARSE_TASK = 1 << 13, /* vectors that a task multiplies, about */
    SPARSE_ROWS = 32,      /* rows of a task, at least: they share what is in the cache */
    CHECK_TASK = 1 << 15   /* floats of D that a task checks, about */
};

/* Whether at least half of some values, spread over the whole matrix, are zeros: a matrix without
 * zeros is told apart at once. */
static bool looks_sparse(struct operand a)
{
    int zeros = 0;
    for (ptrdiff_t t = 0; t < SAMPLES; t++) {
        ptrdiff_t i = t * a.rows / SAMPLES, j = (2 * (27 * t % SAMPLES) + 1) * a.columns / (2 * SAMPLES);
        zeros += a.at[i * a.rows_apart + j * a.columns_apart] == 0.0f;
    }
    return 2 * zeros >= SAMPLES;
}

struct sparse_job {
    struct operand S, D;
    uint32_t *bits;
    float *out;
    ptrdiff_t each; /* rows in a task */
    _Atomic ptrdiff_t marked;
    atomic_bool infinite; /* a value of D is nan or infinite */
};

/* Mark 32 neighbouring summands of a row; `count` of them are there. */
INLINE uint32_t mark_word(const float *p, ptrdiff_t count)
{
    float tail[WORD] = {0};
    if (count < WORD)
        p = memcpy(tail, p, (size_t)count * sizeof *p);
    words v[WORD / FLOATS]; /* of bits, all the same in a lane */
    for (int t = 0; t < WORD / FLOATS; t++)
        v[t] = (words)(*(const floats_at *)(p + t * FLOATS) != 0.0f);
    return sign_bits(v);
}

/* Mark 32 summands of FLOATS neighbouring rows; `count` of them are there. */
INLINE void mark_words(const float *p, ptrdiff_t apart, ptrdiff_t count, uint32_t *bits)
{
    words sum = {0};
    for (ptrdiff_t b = 0; b < count; b++)
        sum |= (words)(*(const floats_at *)(p + b * apart) != 0.0f) & (uint32_t)1 << b;
    *(words_at *)bits = sum;
}

/* Mark the rows of a task. */
static void mark_rows(ptrdiff_t task, void *argument)
{
    struct sparse_job *job = argument;
    struct operand S = job->S;
    ptrdiff_t step = stride_of(S.rows), first = task * job->each, marked = 0;
    ptrdiff_t last = least(first + job->each, S.rows);
    for (ptrdiff_t q = 0; q < words_of(S.columns); q++) {
        const float *p = S.at + q * WORD * S.columns_apart;
        ptrdiff_t count = least(WORD, S.columns - q * WORD), r = first;
        uint32_t *bits = job->bits + q * step;
        if (S.columns_apart != 1)
            for (; r + FLOATS <= last; r += FLOATS)
                mark_words(p + r, S.columns_apart, count, bits + r);
        for (; r < last; r++)
            if (S.columns_apart != 1) {
                float copy[WORD];
                for (ptrdiff_t b = 0; b < count; b++)
                    copy[b] = p[r + b * S.columns_apart];
                bits[r] = mark_word(copy, count);
            } else {
                bits[r] = mark_word(p + r * S.rows_apart, count);
            }
        for (r = first; r < last; r++)
            marked += __builtin_popcount(bits[r]);
    }
    job->marked += marked;
}

/* Adding 1 to the exponent of nan and of infinity, which is the greatest, sets the highest bit. */
#define NOT_FINITE(v) (((v) & 0x7FFFFFFFu) + 0x00800000u)

/* Check the rows of D in a task. */
static void check_rows(ptrdiff_t task, void *argument)
{
    struct sparse_job *job = argument;
    struct operand D = job->D;
    words all = {0};
    uint32_t tail = 0;
    for (ptrdiff_t s = task * job->each; s < least((task + 1) * job->each, D.rows); s++) {
        const float *row = D.at + s * D.rows_apart;
        ptrdiff_t j = 0;
        for (; j + FLOATS <= D.columns; j += FLOATS)
            all |= NOT_FINITE(*(const words_at *)(row + j));
        for (; j < D.columns; j++) {
            uint32_t v;
            memcpy(&v, row + j, sizeof v);
            tail |= NOT_FINITE(v);
        }
    }
    if (tail >> 31 || any(all >> 31))
        job->infinite = true;
}

/* Columns j to j + vectors FLOATS of some rows of the result. These columns of DEPTH words of summands
 * are copied, and stay in the first-level cache while all rows use them: where they are, rows of a wide
 * matrix would push each other out. */
INLINE void multiply_panel(int vectors, const struct sparse_job *job, ptrdiff_t first, ptrdiff_t last,
                           ptrdiff_t j)
{
    floats copy[DEPTH * WORD * PANEL];
    struct operand S = job->S, D = job->D;
    ptrdiff_t step = stride_of(S.rows), depth = words_of(S.columns);
    for (ptrdiff_t start = 0, end; start < depth; start = end) {
        end = least(start + DEPTH, depth);
        for (ptrdiff_t s = start * WORD; s < least(end * WORD, D.rows); s++)
            memcpy(copy + (s - start * WORD) * vectors, D.at + s * D.rows_apart + j,
                   (size_t)vectors * sizeof *copy);
        for (ptrdiff_t r = first; r < last; r++) {
            floats_at *out = (floats_at *)(job->out + r * D.columns + j);
            floats sum[PANEL] = {0};
            if (start > 0)
                for (int v = 0; v < vectors; v++)
                    sum[v] = out[v];
            for (ptrdiff_t q = start; q < end; q++)
                for (uint32_t w = job->bits[q * step + r]; w; w &= w - 1) {
                    ptrdiff_t s = q * WORD + __builtin_ctz(w);
                    float x = S.at[r * S.rows_apart + s * S.columns_apart];
                    const floats *row = copy + (s - start * WORD) * vectors;
                    for (int v = 0; v < vectors; v++)
                        sum[v] += x * row[v];
                }
            for (int v = 0; v < vectors; v++)
                out[v] = sum[v];
        }
    }
}

/* out(r, c) = sum over s of S(r, s) D(s, c), of the s where S(r, s) is not 0, in order. */
static void multiply_rows(ptrdiff_t task, void *argument)
{
    const struct sparse_job *job = argument;
    struct operand S = job->S, D = job->D;
    ptrdiff_t first = task * job->each, last = least(first + job->each, S.rows), j = 0;
    for (; j + PANEL * FLOATS <= D.columns; j += PANEL * FLOATS)
        multiply_panel(PANEL, job, first, last, j);
    for (; j + FLOATS <= D.columns; j += FLOATS)
        multiply_panel(1, job, first, last, j);
    for (; j < D.columns; j++)
        for (ptrdiff_t r = first; r < last; r++) {
            float sum = 0.0f;
            for (ptrdiff_t q = 0; q < words_of(S.columns); q++)
                for (uint32_t w = job->bits[q * stride_of(S.rows) + r]; w; w &= w - 1) {
                    ptrdiff_t s = q * WORD + __builtin_ctz(w);
                    sum += S.at[r * S.rows_apart + s * S.columns_apart] * D.at[s * D.rows_apart + j];
                }
            job->out[r * D.columns + j] = sum;
        }
}

/* Run a task for each part of some rows. */
static void for_rows(struct sparse_job *job, ptrdiff_t rows, ptrdiff_t each,
                     void (*task)(ptrdiff_t, void *))
{
    job->each = (each + FLOATS - 1) / FLOATS * FLOATS;
    minibnn_run((rows + job->each - 1) / job->each, task, job);
}

/* z = a b, for a (n, k) and b (k, m) with strides in bytes, if a is mostly zeros and b is finite and
 * stored by rows; z is stored by rows. Returns whether it did compute. */
int NAMED(sparse_product)(ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, ptrdiff_t a_down, ptrdiff_t a_right,
                   ptrdiff_t b_down, ptrdiff_t b_right, const float *a_at, const float *b_at, float *z)
{
    struct operand a = {n, k, a_at, 0, 0}, b = {k, m, b_at, 0, 0};
    if (!lay_out(&a, a_down, a_right) || !lay_out(&b, b_down, b_right) || b.columns_apart != 1 ||
        !looks_sparse(a))
        return 0;
    struct sparse_job job = {.S = a, .D = b, .out = z};
    job.bits = malloc((size_t)(words_of(k) * stride_of(n)) * sizeof *job.bits);
    if (job.bits == NULL)
        return 0;
    for_rows(&job, n, 1 + PACK_TASK / k, mark_rows);
    bool sparse = SPARSE * job.marked <= n * k;
    if (sparse)
        for_rows(&job, k, 1 + CHECK_TASK / m, check_rows);
    sparse = sparse && !job.infinite;
    ptrdiff_t each = SPARSE_TASK * FLOATS * n / (1 + job.marked * m);
    if (sparse)
        for_rows(&job, n, each < SPARSE_ROWS ? SPARSE_ROWS : each, multiply_rows);
    free(job.bits);
    return sparse;
}
