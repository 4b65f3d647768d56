/* Operations on the CPU in C: one pass over memory, where NumPy needs one for each operation.
 *
 * They are compiled when minibnn is installed, if there is a C compiler (tools/build_kernels.py);
 * without one, NumPy computes. Each function computes what the reference does, in the same order and
 * without fused multiply-adds, so that both agree to the last bit. Only sums have another order, and
 * the softmax another exponential.
 * The compiler makes vector code for several generations of processors; the best one for this
 * processor is chosen when the library is loaded.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define EXPORT __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EXPORT
#endif

/* The checksum of the source: c_kernels.py compares it with the file beside the library. */
uint32_t minibnn_source(void) { return MINIBNN_SOURCE; }

/* y = +1 where x >= 0 (also for -0), else -1; nan stays nan. */
EXPORT void minibnn_binary_sign(ptrdiff_t n, const float *restrict x, float *restrict y)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float sign = x[i] < 0.0f ? -1.0f : 1.0f;
        y[i] = x[i] == x[i] ? sign : x[i];
    }
}

/* y = scale x + offset, for bytes x. */
EXPORT void minibnn_rescale_bytes(ptrdiff_t n, const uint8_t *restrict x, float *restrict y,
                                  float scale, float offset)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = offset == 0.0f ? (float)x[i] * scale : (float)x[i] * scale + offset;
}

/* Sums of the columns of a (rows, width), or of the products a b. Blocks of rows are summed first:
 * the rounding error of a sum grows with the number of terms in one accumulator. */
enum { ROWS = 64, COLUMNS = 1024 };

static inline __attribute__((always_inline)) void
column_sums(ptrdiff_t rows, ptrdiff_t width, const float *a, const float *b, float *restrict sums)
{
    float part[COLUMNS];
    for (ptrdiff_t left = 0; left < width; left += COLUMNS) {
        ptrdiff_t n = width - left < COLUMNS ? width - left : COLUMNS;
        for (ptrdiff_t j = 0; j < n; j++)
            sums[left + j] = 0.0f;
        for (ptrdiff_t top = 0; top < rows; top += ROWS) {
            ptrdiff_t end = rows - top < ROWS ? rows : top + ROWS;
            for (ptrdiff_t j = 0; j < n; j++)
                part[j] = 0.0f;
            for (ptrdiff_t i = top; i < end; i++) {
                const float *row = a + i * width + left;
                const float *other = b == NULL ? NULL : b + i * width + left;
                for (ptrdiff_t j = 0; j < n; j++)
                    part[j] += b == NULL ? row[j] : row[j] * other[j];
            }
            for (ptrdiff_t j = 0; j < n; j++)
                sums[left + j] += part[j];
        }
    }
}

EXPORT void minibnn_column_dots(ptrdiff_t rows, ptrdiff_t width, const float *a, const float *b,
                                float *sums)
{
    column_sums(rows, width, a, b, sums);
}

/* From the sums of the columns to the means of the channels. Positions are added in pairs, the pairs
 * in pairs, and so on, in place: rounding errors stay small. */
static inline __attribute__((always_inline)) void
means(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels, float *columns, float *restrict mean)
{
    for (ptrdiff_t positions = width / channels; positions > 1;) {
        ptrdiff_t left = positions - positions / 2;
        const float *second = columns + left * channels;
        for (ptrdiff_t j = 0; j < positions / 2 * channels; j++)
            columns[j] += second[j];
        positions = left;
    }
    for (ptrdiff_t c = 0; c < channels; c++)
        mean[c] = columns[c] / (float)(rows * (width / channels));
}

/* The reverse: each channel's value for each of its columns; 1 if v is NULL. */
static inline __attribute__((always_inline)) void
repeat(ptrdiff_t width, ptrdiff_t channels, const float *v, float *restrict columns)
{
    for (ptrdiff_t j = 0; j < width; j += channels)
        for (ptrdiff_t c = 0; c < channels; c++)
            columns[j + c] = v == NULL ? 1.0f : v[c];
}

/* x_hat = (x - mean) inv_std and y = gamma x_hat + beta for each channel; gamma is NULL for 1.
 * stats (3, channels) takes mean, variance and inv_std; columns (3, width) is scratch. */
EXPORT void minibnn_batch_norm(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels,
                               const float *restrict x, const float *gamma, const float *beta,
                               float *restrict y, float *restrict x_hat, float *restrict stats,
                               float *restrict columns, float epsilon)
{
    float *mean = stats, *var = stats + channels, *inv_std = stats + 2 * channels;
    float *restrict scale = columns + width, *restrict shift = columns + 2 * width;
    column_sums(rows, width, x, NULL, columns);
    means(rows, width, channels, columns, mean);
    repeat(width, channels, mean, columns);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < width; j++)
            x_hat[i * width + j] = x[i * width + j] - columns[j];
    column_sums(rows, width, x_hat, x_hat, columns);
    means(rows, width, channels, columns, var);
    for (ptrdiff_t c = 0; c < channels; c++)
        inv_std[c] = sqrtf(var[c] + epsilon) / (var[c] + epsilon);
    repeat(width, channels, inv_std, columns);
    repeat(width, channels, gamma, scale);
    repeat(width, channels, beta, shift);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < width; j++) {
            float normalized = x_hat[i * width + j] * columns[j];
            x_hat[i * width + j] = normalized;
            y[i * width + j] = normalized * scale[j] + shift[j];
        }
}

/* dx = gamma inv_std (dy - x_hat dgamma / n - dbeta / n), n values a channel; gamma is NULL for 1.
 * columns (3, width) is scratch. */
EXPORT void minibnn_batch_norm_dx(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels,
                                  const float *restrict dy, const float *restrict x_hat,
                                  const float *inv_std, const float *gamma, const float *dgamma,
                                  const float *dbeta, float *restrict dx, float *restrict columns)
{
    float n = (float)(rows * (width / channels));
    float *restrict slope = columns + width, *restrict shift = columns + 2 * width;
    for (ptrdiff_t j = 0; j < width; j += channels)
        for (ptrdiff_t c = 0; c < channels; c++) {
            float scale = gamma == NULL ? inv_std[c] : gamma[c] * inv_std[c];
            columns[j + c] = scale;
            slope[j + c] = scale * dgamma[c] / n;
            shift[j + c] = scale * dbeta[c] / n;
        }
    for (ptrdiff_t i = 0; i < rows; i++, dy += width, x_hat += width, dx += width)
        for (ptrdiff_t j = 0; j < width; j++)
            dx[j] = dy[j] * columns[j] - x_hat[j] * slope[j] - shift[j];
}

/* For each row: log p = s - log(sum of exp(s)), and p, with s = x - max(x). */
EXPORT void minibnn_log_softmax(ptrdiff_t rows, ptrdiff_t width, const float *restrict x,
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

/* dx = dy where |x| <= clip, else 0 (a product, so that nan stays nan). */
EXPORT void minibnn_straight_through_gradient(ptrdiff_t n, const float *restrict dy,
                                              const float *restrict x, float *restrict dx,
                                              float clip)
{
    for (ptrdiff_t i = 0; i < n; i++)
        dx[i] = dy[i] * (fabsf(x[i]) <= clip ? 1.0f : 0.0f);
}

/* Adam. rest1 and rest2 are 1 - beta1 and 1 - beta2; alpha_t and epsilon_hat include the bias
 * corrections of both moments. An infinite bound clips nothing. */
EXPORT void minibnn_adam(ptrdiff_t n, float *restrict w, const float *restrict g,
                         float *restrict m, float *restrict v, float beta1, float rest1,
                         float beta2, float rest2, float alpha_t, float epsilon_hat,
                         float bound)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float new_m = m[i] * beta1 + g[i] * rest1;
        float new_v = v[i] * beta2 + g[i] * g[i] * rest2;
        float new_w = w[i] - new_m / (sqrtf(new_v) + epsilon_hat) * alpha_t;
        new_w = new_w > bound ? bound : new_w;
        m[i] = new_m;
        v[i] = new_v;
        w[i] = new_w < -bound ? -bound : new_w;
    }
}
