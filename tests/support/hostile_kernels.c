/* The kernels that are no products on arrays of every length of tail, against sums in double; to be
 * built with sanitizers. Blocks have exactly the size of each array: an access beyond one is found. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void minibnn_use_blas(int (*)(void), void (*)(int), void *, int, int);
void minibnn_binary_sign(ptrdiff_t, const float *, float *);
void minibnn_straight_through_gradient(ptrdiff_t, const float *, const float *, float *, float);
void minibnn_rescale_bytes(ptrdiff_t, const uint8_t *, float *, float, float);
int minibnn_all_finite(ptrdiff_t, const float *);
void minibnn_adam(ptrdiff_t, float *, const float *, float *, float *, float, float, float, float,
                  float, float, float);
void minibnn_batch_sums(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, float *, float *);
void minibnn_batch_norm(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const float *, const float *,
                        float *, float *, float *, float *, float);
void minibnn_batch_norm_gradient(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const float *,
                                 const float *, const float *, float *, float *, float *, float *);
int minibnn_cross_entropy(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const void *, float *,
                          float *, float *);
int minibnn_cross_entropy_gradient(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const void *,
                                   float *, float);

static float *numbers(ptrdiff_t n)
{
    float *a = malloc(4 * n);
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return a;
}

static void expect(int holds, const char *what, ptrdiff_t n)
{
    if (holds)
        return;
    printf("%s %td\n", what, n);
    exit(1);
}

static void elementwise(ptrdiff_t n)
{
    float *x = numbers(n), *y = numbers(n), *m = numbers(n), *v = numbers(n);
    uint8_t *bytes = calloc(n, 1);
    minibnn_binary_sign(n, x, y);
    expect(y[n - 1] == (x[n - 1] < 0 ? -1 : 1), "sign", n);
    minibnn_straight_through_gradient(n, x, y, m, 0.5f);
    expect(m[n - 1] == 0, "gradient", n);
    minibnn_rescale_bytes(n, bytes, y, 0.5f, 2.0f);
    expect(y[n - 1] == 2, "rescale", n);
    expect(minibnn_all_finite(n, x), "finite", n);
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = 1, m[i] = 0;
    minibnn_adam(n, x, y, m, v, 0.5f, 0.5f, 0.5f, 0.5f, 0.0f, 1.0f, 0.25f);
    expect(m[n - 1] == 1 && v[n - 1] == 2.5f && fabsf(x[n - 1]) <= 0.25f, "adam", n);
    x[n - 1] = INFINITY;
    expect(!minibnn_all_finite(n, x), "not finite", n);
    free(x), free(y), free(m), free(v), free(bytes);
}

static void batches(ptrdiff_t rows, ptrdiff_t positions, ptrdiff_t channels)
{
    ptrdiff_t width = positions * channels, n = rows * width;
    float *x = numbers(n), *dy = numbers(n), *y = numbers(n), *x_hat = numbers(n), *dx = numbers(n);
    float *columns = numbers(width), *norm = numbers(4 * width), *gradient = numbers(3 * width);
    float *sums = numbers(channels), *gamma = numbers(channels), *stats = numbers(3 * channels);
    float *dgamma = numbers(channels), *dbeta = numbers(channels);
    double sum = 0, dot = 0;
    minibnn_batch_sums(rows, width, channels, x, sums, columns);
    for (ptrdiff_t i = channels - 1; i < n; i += channels)
        sum += (double)x[i];
    expect(fabs(sums[channels - 1] - sum) < 1e-3, "sum", n);
    minibnn_batch_norm(rows, width, channels, x, gamma, sums, y, x_hat, stats, norm, 1e-5f);
    expect(fabs(stats[channels - 1] - sum / (double)(rows * positions)) < 1e-4, "mean", n);
    minibnn_batch_norm(rows, width, channels, x, NULL, sums, y, x_hat, stats, norm, 1e-5f);
    minibnn_batch_norm_gradient(rows, width, channels, dy, x_hat, stats, gamma, dgamma, dbeta, dx,
                                gradient);
    for (ptrdiff_t i = channels - 1; i < n; i += channels)
        dot += (double)dy[i] * (double)x_hat[i];
    expect(fabs(dgamma[channels - 1] - dot) < 1e-2, "dgamma", n);
    minibnn_batch_norm_gradient(rows, width, channels, dy, x_hat, stats, NULL, NULL, dbeta, NULL,
                                gradient);
    float *all[] = {x,   dy,    y,     x_hat, dx,     columns, norm,
                    gradient, sums, gamma, stats, dgamma, dbeta};
    for (int i = 0; i < 13; i++)
        free(all[i]);
}

static void losses(ptrdiff_t rows, ptrdiff_t classes)
{
    ptrdiff_t n = rows * classes;
    float *logits = numbers(n), *logp = numbers(n), *p = numbers(n), *scores = numbers(rows);
    for (int bytes = 1; bytes <= 8; bytes *= 8) {
        uint8_t *labels = calloc(rows, bytes);
        expect(minibnn_cross_entropy(rows, classes, bytes, logits, labels, logp, p, scores), "loss", n);
        expect(scores[rows - 1] == logp[n - classes], "score", n);
        expect(minibnn_cross_entropy_gradient(rows, classes, bytes, p, labels, logp, 0.5f), "d", n);
        labels[(rows - 1) * bytes] = (uint8_t)classes;
        expect(!minibnn_cross_entropy(rows, classes, bytes, logits, labels, logp, p, scores), "no", n);
        free(labels);
    }
    free(logits), free(logp), free(p), free(scores);
}

int main(void)
{
    minibnn_use_blas(NULL, NULL, NULL, 0, 3); /* three threads */
    ptrdiff_t lengths[] = {1, 3, 15, 16, 17, 63, 1000, 32767, 32768, 32769, 70001, 4194311};
    for (int i = 0; i < 12; i++)
        elementwise(lengths[i]);
    ptrdiff_t shapes[][3] = {{2, 1, 1}, {1, 3, 2}, {100, 1, 257}, {65, 1, 1025}, {9, 25, 32}, {200, 9, 33}};
    for (int i = 0; i < 6; i++)
        batches(shapes[i][0], shapes[i][1], shapes[i][2]);
    losses(1, 2), losses(33, 10), losses(100, 40);
    puts("all as expected");
}
