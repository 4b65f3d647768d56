/* Operations on the CPU in C: one pass over memory, where NumPy needs one for each operation.
 *
 * They are compiled when minibnn is installed, if there is a C compiler (tools/build_kernels.py);
 * without one, NumPy computes. Each function computes what the reference does, in the same order and
 * without fused multiply-adds, so that both agree to the last bit. Only sums have another order, and
 * the softmax another exponential.
 * Long arrays are cut into pieces, the tasks of `minibnn_run`.
 *
 * The compiler makes vector code for several generations of processors; the best one for this
 * processor is chosen when the library is loaded.
 */
#include "threads.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(SANITIZED)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

/* The checksum of the source: c_kernels.py compares it with the file beside the library. */
uint32_t minibnn_source(void) { return MINIBNN_SOURCE; }

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* ---- Elementwise ------------------------------------------------------------------------------ */

/* Floats of a piece: some microseconds of work, more than it costs to wake a thread. */
enum { PIECE = 1 << 15, LARGE = 1 << 22 };

INLINE ptrdiff_t pieces(ptrdiff_t n) { return (n + PIECE - 1) / PIECE; }

struct sign_job {
    ptrdiff_t n;
    const float *x;
    float *y;
};

static CLONES void sign_piece(ptrdiff_t task, void *argument)
{
    struct sign_job *job = argument;
    const float *restrict x = job->x + task * PIECE;
    float *restrict y = job->y + task * PIECE;
    ptrdiff_t n = least(PIECE, job->n - task * PIECE);
#if defined(__SSE2__)
    if (job->n > LARGE && (uintptr_t)y % 16 == 0) {
        /* As below, past the caches: a line of memory is not read before it is written. */
        __m128 zero = _mm_setzero_ps(), one = _mm_set1_ps(1.0f), minus = _mm_set1_ps(-0.0f);
        for (; n >= 4; n -= 4, x += 4, y += 4) {
            __m128 v = _mm_loadu_ps(x), real = _mm_cmpord_ps(v, v);
            __m128 sign = _mm_or_ps(one, _mm_and_ps(minus, _mm_cmplt_ps(v, zero)));
            _mm_stream_ps(y, _mm_or_ps(_mm_and_ps(real, sign), _mm_andnot_ps(real, v)));
        }
        _mm_sfence();
    }
#endif
    for (ptrdiff_t i = 0; i < n; i++) {
        float sign = x[i] < 0.0f ? -1.0f : 1.0f;
        y[i] = x[i] == x[i] ? sign : x[i];
    }
}

/* y = +1 where x >= 0 (also for -0), else -1; nan stays nan. */
void minibnn_binary_sign(ptrdiff_t n, const float *x, float *y)
{
    struct sign_job job = {n, x, y};
    minibnn_run(pieces(n), sign_piece, &job);
}

struct rescale_job {
    ptrdiff_t n;
    const uint8_t *x;
    float *y;
    float scale, offset;
};

static CLONES void rescale_piece(ptrdiff_t task, void *argument)
{
    struct rescale_job *job = argument;
    const uint8_t *restrict x = job->x + task * PIECE;
    float *restrict y = job->y + task * PIECE, scale = job->scale, offset = job->offset;
    ptrdiff_t n = least(PIECE, job->n - task * PIECE);
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = offset == 0.0f ? (float)x[i] * scale : (float)x[i] * scale + offset;
}

/* y = scale x + offset, for bytes x. */
void minibnn_rescale_bytes(ptrdiff_t n, const uint8_t *x, float *y, float scale, float offset)
{
    struct rescale_job job = {n, x, y, scale, offset};
    minibnn_run(pieces(n), rescale_piece, &job);
}

struct gradient_job {
    ptrdiff_t n;
    const float *dy, *x;
    float *dx, clip;
};

static CLONES void gradient_piece(ptrdiff_t task, void *argument)
{
    struct gradient_job *job = argument;
    const float *restrict dy = job->dy + task * PIECE, *restrict x = job->x + task * PIECE;
    float *restrict dx = job->dx + task * PIECE, clip = job->clip;
    ptrdiff_t n = least(PIECE, job->n - task * PIECE);
    for (ptrdiff_t i = 0; i < n; i++)
        dx[i] = dy[i] * (fabsf(x[i]) <= clip ? 1.0f : 0.0f);
}

/* dx = dy where |x| <= clip, else 0 (a product, so that nan stays nan). */
void minibnn_straight_through_gradient(ptrdiff_t n, const float *dy, const float *x, float *dx,
                                       float clip)
{
    struct gradient_job job = {n, dy, x, dx, clip};
    minibnn_run(pieces(n), gradient_piece, &job);
}

struct finite_job {
    ptrdiff_t n;
    const float *x;
    atomic_bool finite;
};

static CLONES void is_piece_finite(ptrdiff_t task, void *argument)
{
    struct finite_job *job = argument;
    const float *x = job->x + task * PIECE;
    ptrdiff_t n = least(PIECE, job->n - task * PIECE);
    uint32_t greatest = 0; /* the bits of nan and infinity are the greatest of all */
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7FFFFFFFu;
        greatest = bits > greatest ? bits : greatest;
    }
    if (greatest >= 0x7F800000u)
        job->finite = false;
}

/* Whether all values are finite. */
int minibnn_all_finite(ptrdiff_t n, const float *x)
{
    struct finite_job job = {n, x, true};
    minibnn_run(pieces(n), is_piece_finite, &job);
    return job.finite;
}

struct adam_job {
    ptrdiff_t n;
    float *w, *m, *v;
    const float *g;
    float beta1, rest1, beta2, rest2, alpha_t, epsilon_hat, bound;
};

static CLONES void adam_piece(ptrdiff_t task, void *argument)
{
    struct adam_job job = *(struct adam_job *)argument;
    ptrdiff_t start = task * PIECE, n = least(PIECE, job.n - start);
    float *restrict w = job.w + start, *restrict m = job.m + start, *restrict v = job.v + start;
    const float *restrict g = job.g + start;
    for (ptrdiff_t i = 0; i < n; i++) {
        float new_m = m[i] * job.beta1 + g[i] * job.rest1;
        float new_v = v[i] * job.beta2 + g[i] * g[i] * job.rest2;
        float new_w = w[i] - new_m / (sqrtf(new_v) + job.epsilon_hat) * job.alpha_t;
        new_w = new_w > job.bound ? job.bound : new_w;
        m[i] = new_m;
        v[i] = new_v;
        w[i] = new_w < -job.bound ? -job.bound : new_w;
    }
}

/* Adam. rest1 and rest2 are 1 - beta1 and 1 - beta2; alpha_t and epsilon_hat include the bias
 * corrections of both moments. An infinite bound clips nothing. */
void minibnn_adam(ptrdiff_t n, float *w, const float *g, float *m, float *v, float beta1,
                  float rest1, float beta2, float rest2, float alpha_t, float epsilon_hat,
                  float bound)
{
    struct adam_job job = {n,     w,     m,     v,       g,           beta1,
                           rest1, beta2, rest2, alpha_t, epsilon_hat, bound};
    minibnn_run(pieces(n), adam_piece, &job);
}

/* ---- Sums over the batch ------------------------------------------------------------------------ */

/* Blocks of rows are summed first: the rounding error of a sum grows with the number of terms in one
 * accumulator. A task has the columns of a strip, which are added in parallel. */
enum { ROWS = 64, STRIP = 256 };

/* Sums of n columns of a (rows, width), or of the products a b. */
INLINE void column_sums(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t n, const float *a, const float *b,
                        float *restrict sums)
{
    float part[STRIP];
    for (ptrdiff_t j = 0; j < n; j++)
        sums[j] = 0.0f;
    for (ptrdiff_t top = 0; top < rows; top += ROWS) {
        ptrdiff_t end = least(rows, top + ROWS);
        for (ptrdiff_t j = 0; j < n; j++)
            part[j] = 0.0f;
        for (ptrdiff_t i = top; i < end; i++) {
            const float *row = a + i * width, *other = b == NULL ? NULL : b + i * width;
            for (ptrdiff_t j = 0; j < n; j++)
                part[j] += b == NULL ? row[j] : row[j] * other[j];
        }
        for (ptrdiff_t j = 0; j < n; j++)
            sums[j] += part[j];
    }
}

/* Adds the positions of a sample in pairs, the pairs in pairs, and so on, in place: rounding errors
 * stay small. The sums of the channels are the first columns then. */
INLINE void add_positions(ptrdiff_t positions, ptrdiff_t channels, float *columns)
{
    while (positions > 1) {
        ptrdiff_t left = positions - positions / 2;
        const float *second = columns + left * channels;
        for (ptrdiff_t j = 0; j < positions / 2 * channels; j++)
            columns[j] += second[j];
        positions = left;
    }
}

/* The reverse: each channel's value for each of its columns; 1 if v is NULL. */
INLINE void repeat(ptrdiff_t width, ptrdiff_t channels, const float *v, float *restrict columns)
{
    for (ptrdiff_t j = 0; j < width; j += channels)
        for (ptrdiff_t c = 0; c < channels; c++)
            columns[j + c] = v == NULL ? 1.0f : v[c];
}

/* What a batch (rows, width) needs, whose width is a number of positions times the channels. */
struct batch {
    ptrdiff_t rows, width, channels;
    const float *x, *x_hat_in; /* or dy and x_hat */
    float *y, *x_hat;          /* or dx */
    float *scale, *shift, *slope, *mean; /* for each column */
    ptrdiff_t strips;                    /* in a task */
};

static void for_strips(struct batch *job, void (*task)(ptrdiff_t, void *))
{
    ptrdiff_t strips = (job->width + STRIP - 1) / STRIP;
    job->strips = 1 + PIECE / (job->rows * STRIP);
    minibnn_run((strips + job->strips - 1) / job->strips, task, job);
}

#define EACH_STRIP(job, task, left, n)                                                            \
    for (ptrdiff_t left = (task) * (job).strips * STRIP, n,                                       \
                   end = least((job).width, left + (job).strips * STRIP);                         \
         n = least(STRIP, end - left), left < end; left += STRIP)

static CLONES void sums_task(ptrdiff_t task, void *argument)
{
    struct batch job = *(struct batch *)argument;
    EACH_STRIP(job, task, left, n)
        column_sums(job.rows, job.width, n, job.x + left, NULL, job.shift + left);
}

/* Sums over all but the channels; columns (width,) is scratch. */
void minibnn_batch_sums(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels, const float *x,
                        float *sums, float *columns)
{
    struct batch job = {rows, width, channels, .x = x, .shift = columns};
    for_strips(&job, sums_task);
    add_positions(width / channels, channels, columns);
    memcpy(sums, columns, (size_t)channels * sizeof *sums);
}

/* ---- Batch norm --------------------------------------------------------------------------------- */

/* x_hat = x - mean, and the sums of its squares. */
INLINE void center(const struct batch *job, ptrdiff_t left, ptrdiff_t n)
{
    const float *restrict mean = job->mean + left;
    for (ptrdiff_t i = 0; i < job->rows; i++) {
        const float *restrict x = job->x + i * job->width + left;
        float *restrict x_hat = job->x_hat + i * job->width + left;
        for (ptrdiff_t j = 0; j < n; j++)
            x_hat[j] = x[j] - mean[j];
    }
    const float *x_hat = job->x_hat + left;
    column_sums(job->rows, job->width, n, x_hat, x_hat, job->slope + left);
}

/* x_hat slope, and y = x_hat scale + shift. */
INLINE void normalize(const struct batch *job, ptrdiff_t left, ptrdiff_t n)
{
    const float *restrict scale = job->scale + left, *restrict shift = job->shift + left;
    const float *restrict slope = job->slope + left;
    for (ptrdiff_t i = 0; i < job->rows; i++) {
        float *restrict x_hat = job->x_hat + i * job->width + left;
        float *restrict y = job->y + i * job->width + left;
        for (ptrdiff_t j = 0; j < n; j++) {
            float normalized = x_hat[j] * slope[j];
            x_hat[j] = normalized;
            y[j] = normalized * scale[j] + shift[j];
        }
    }
}

static CLONES void center_task(ptrdiff_t task, void *argument)
{
    struct batch job = *(struct batch *)argument;
    EACH_STRIP(job, task, left, n)
        center(&job, left, n);
}

static CLONES void normalize_task(ptrdiff_t task, void *argument)
{
    struct batch job = *(struct batch *)argument;
    EACH_STRIP(job, task, left, n)
        normalize(&job, left, n);
}

/* The second pass: x_hat = x - mean, and squares (channels,), the sums of its squares. columns
 * (2, width) is scratch. */
CLONES void minibnn_center(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels, const float *x,
                           const float *mean, float *x_hat, float *squares, float *columns)
{
    struct batch job = {rows, width, channels, .x = x, .x_hat = x_hat,
                        .mean = columns, .slope = columns + width};
    repeat(width, channels, mean, job.mean);
    for_strips(&job, center_task);
    add_positions(width / channels, channels, job.slope);
    memcpy(squares, job.slope, (size_t)channels * sizeof *squares);
}

/* The third: x_hat <- x_hat inv_std, and y = gamma x_hat + beta; gamma is NULL for 1. columns
 * (3, width) is scratch. */
CLONES void minibnn_scale_centered(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels,
                                   const float *inv_std, const float *gamma, const float *beta,
                                   float *x_hat, float *y, float *columns)
{
    struct batch job = {rows, width, channels, .y = y, .x_hat = x_hat,
                        .scale = columns, .shift = columns + width, .slope = columns + 2 * width};
    repeat(width, channels, inv_std, job.slope);
    repeat(width, channels, gamma, job.scale);
    repeat(width, channels, beta, job.shift);
    for_strips(&job, normalize_task);
}

/* All three: x_hat = (x - mean) inv_std and y = gamma x_hat + beta for each channel. stats
 * (3, channels) takes mean, variance and inv_std; columns (3, width) is scratch. */
CLONES void minibnn_batch_norm(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels, const float *x,
                               const float *gamma, const float *beta, float *y, float *x_hat,
                               float *stats, float *columns, float epsilon)
{
    float *mean = stats, *var = stats + channels, *inv_std = stats + 2 * channels;
    float count = (float)(rows * (width / channels));
    minibnn_batch_sums(rows, width, channels, x, mean, columns);
    for (ptrdiff_t c = 0; c < channels; c++)
        mean[c] /= count;
    minibnn_center(rows, width, channels, x, mean, x_hat, var, columns);
    for (ptrdiff_t c = 0; c < channels; c++) {
        var[c] /= count;
        inv_std[c] = sqrtf(var[c] + epsilon) / (var[c] + epsilon);
    }
    minibnn_scale_centered(rows, width, channels, inv_std, gamma, beta, x_hat, y, columns);
}

static CLONES void dots_task(ptrdiff_t task, void *argument)
{
    struct batch job = *(struct batch *)argument;
    EACH_STRIP(job, task, left, n) {
        column_sums(job.rows, job.width, n, job.x + left, NULL, job.shift + left);
        if (job.slope != NULL)
            column_sums(job.rows, job.width, n, job.x + left, job.x_hat_in + left, job.slope + left);
    }
}

static CLONES void dx_task(ptrdiff_t task, void *argument)
{
    struct batch job = *(struct batch *)argument;
    EACH_STRIP(job, task, left, n) {
        const float *restrict scale = job.scale + left, *restrict shift = job.shift + left;
        const float *restrict slope = job.slope + left;
        for (ptrdiff_t i = 0; i < job.rows; i++) {
            const float *restrict dy = job.x + i * job.width + left;
            const float *restrict x_hat = job.x_hat_in + i * job.width + left;
            float *restrict dx = job.y + i * job.width + left;
            for (ptrdiff_t j = 0; j < n; j++)
                dx[j] = dy[j] * scale[j] - x_hat[j] * slope[j] - shift[j];
        }
    }
}

/* dx = gamma inv_std (dy - x_hat dgamma / n - dbeta / n), n values a channel; gamma is NULL for 1.
 * columns (3, width) is scratch. */
CLONES void minibnn_batch_norm_dx(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels,
                                  const float *dy, const float *x_hat, const float *inv_std,
                                  const float *gamma, const float *dgamma, const float *dbeta,
                                  float *dx, float *columns, float n)
{
    struct batch job = {rows, width, channels, .x = dy, .x_hat_in = x_hat, .y = dx,
                        .scale = columns, .shift = columns + width, .slope = columns + 2 * width};
    for (ptrdiff_t j = 0; j < width; j += channels)
        for (ptrdiff_t c = 0; c < channels; c++) {
            float scale = gamma == NULL ? inv_std[c] : gamma[c] * inv_std[c];
            job.scale[j + c] = scale;
            job.slope[j + c] = scale * dgamma[c] / n;
            job.shift[j + c] = scale * dbeta[c] / n;
        }
    for_strips(&job, dx_task);
}

/* dbeta = sum of dy, dgamma = sum of dy x_hat, and dx; dgamma and dx are NULL if they are not wanted
 * (dx wants dgamma). columns (3, width) is scratch. */
CLONES void minibnn_batch_norm_gradient(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels,
                                        const float *dy, const float *x_hat, const float *inv_std,
                                        const float *gamma, float *dgamma, float *dbeta, float *dx,
                                        float *columns)
{
    struct batch job = {rows, width, channels, .x = dy, .x_hat_in = x_hat, .shift = columns,
                        .slope = dgamma == NULL ? NULL : columns + width};
    for_strips(&job, dots_task);
    add_positions(width / channels, channels, job.shift);
    memcpy(dbeta, job.shift, (size_t)channels * sizeof *dbeta);
    if (dgamma == NULL)
        return;
    add_positions(width / channels, channels, job.slope);
    memcpy(dgamma, job.slope, (size_t)channels * sizeof *dgamma);
    if (dx == NULL)
        return;
    float n = (float)(rows * (width / channels));
    minibnn_batch_norm_dx(rows, width, channels, dy, x_hat, inv_std, gamma, dgamma, dbeta, dx,
                          columns, n);
}

/* ---- Softmax ------------------------------------------------------------------------------------ */

/* For each row: log p = s - log(sum of exp(s)), and p, with s = x - max(x). */
CLONES void minibnn_log_softmax(ptrdiff_t rows, ptrdiff_t width, const float *restrict x,
                                float *restrict logp, float *restrict p)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += width, logp += width, p += width) {
        float greatest = x[0], total = 0.0f;
        for (ptrdiff_t j = 1; j < width; j++)
            greatest = x[j] > greatest ? x[j] : greatest;
        for (ptrdiff_t j = 0; j < width; j++) {
            p[j] = expf(x[j] - greatest);
            total += p[j];
        }
        float log_total = logf(total);
        for (ptrdiff_t j = 0; j < width; j++) {
            logp[j] = x[j] - greatest - log_total;
            p[j] /= total;
        }
    }
}
