/* Convolutions and poolings in C, of every shape of tail, against sums in double; to be built with
 * sanitizers. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct windows {
    ptrdiff_t images, rows, columns, channels;
    ptrdiff_t height, width, stride_y, stride_x, dilation_y, dilation_x;
    ptrdiff_t down, across;
};

typedef int convolution(ptrdiff_t, const struct windows *, const float *, const float *, float *);
typedef void pooling(const struct windows *, const float *, float *, uint8_t *);
typedef void unpooling(const struct windows *, const float *, const uint8_t *, float *);
#define DECLARE(set)                                                                              \
    convolution minibnn_convolve_##set, minibnn_convolve_dW_##set, minibnn_convolve_dx_##set,     \
        minibnn_convolve_small_##set, minibnn_convolve_small_dW_##set;                            \
    pooling minibnn_max_pool_##set;                                                               \
    unpooling minibnn_max_pool_gradient_##set;
#define ALL(set)                                                                                  \
    {minibnn_convolve_##set,       minibnn_convolve_dW_##set, minibnn_convolve_dx_##set,          \
     minibnn_convolve_small_##set, minibnn_convolve_small_dW_##set, minibnn_max_pool_##set,       \
     minibnn_max_pool_gradient_##set}
DECLARE(portable)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(avx512_vpopcntdq)
#endif
int minibnn_instruction_set(void);
void minibnn_use_blas(int (*)(void), void (*)(int), void *, int, int);

static const struct {
    convolution *z, *dW, *dx, *small, *small_dW;
    pooling *pool;
    unpooling *unpool;
} sets[] = {ALL(portable),
#if defined(__x86_64__)
            ALL(avx2), ALL(avx512), ALL(avx512_vpopcntdq)
#endif
};

/* Blocks of exactly the size of each array: a read beyond one is found. */
static float *reals(ptrdiff_t n)
{
    float *a = malloc(4 * n);
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return a;
}
static float *signs(ptrdiff_t n)
{
    float *a = malloc(4 * n);
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = rand() & 64 ? 1 : -1;
    return a;
}

static void expect(int as_expected, const char *what, const struct windows *w, ptrdiff_t outputs)
{
    if (as_expected)
        return;
    printf("%s: %td x %td x %td x %td, %td x %td to %td\n", what, w->images, w->rows, w->columns,
           w->channels, w->height, w->width, outputs);
    exit(1);
}

static int close(ptrdiff_t n, const float *got, const double *expected, double error)
{
    int good = 1;
    for (ptrdiff_t i = 0; i < n; i++)
        good &= fabs(got[i] - expected[i]) <= error;
    return good;
}

/* z, dW and dx as sums in double; any of them may be NULL. */
static void sums(const struct windows *w, ptrdiff_t outputs, const float *x, const float *W,
                 const float *dz, double *z, double *dW, double *dx)
{
    ptrdiff_t c_in = w->channels, result = 0;
    for (ptrdiff_t n = 0; n < w->images; n++)
        for (ptrdiff_t p = 0; p < w->down; p++)
            for (ptrdiff_t q = 0; q < w->across; q++, result += outputs)
                for (ptrdiff_t i = 0, s = 0; i < w->height; i++)
                    for (ptrdiff_t j = 0; j < w->width; j++)
                        for (ptrdiff_t c = 0; c < c_in; c++, s++) {
                            ptrdiff_t row = p * w->stride_y + i * w->dilation_y;
                            ptrdiff_t column = q * w->stride_x + j * w->dilation_x;
                            ptrdiff_t at = ((n * w->rows + row) * w->columns + column) * c_in + c;
                            for (ptrdiff_t o = 0; o < outputs; o++) {
                                z[result + o] += (double)x[at] * W[s * outputs + o];
                                dW[s * outputs + o] += (double)x[at] * dz[result + o];
                                dx[at] += (double)dz[result + o] * W[s * outputs + o];
                            }
                        }
}

static void check(int set, const struct windows *w, ptrdiff_t outputs)
{
    ptrdiff_t inputs = w->images * w->rows * w->columns * w->channels;
    ptrdiff_t results = w->images * w->down * w->across * outputs;
    ptrdiff_t weights = w->height * w->width * w->channels * outputs;
    float *z = malloc(4 * results), *dW = malloc(4 * weights), *dx = malloc(4 * inputs);
    double *zs = malloc(8 * results), *dWs = malloc(8 * weights), *dxs = malloc(8 * inputs);
    for (int kind = 0; kind < 4; kind++) { /* bit 0: x is signs; bit 1: W is */
        float *x = kind & 1 ? signs(inputs) : reals(inputs);
        float *W = kind & 2 ? signs(weights) : reals(weights), *dz = reals(results);
        memset(zs, 0, 8 * results), memset(dWs, 0, 8 * weights), memset(dxs, 0, 8 * inputs);
        sums(w, outputs, x, W, dz, zs, dWs, dxs);
        int bits = sets[set].z(outputs, w, x, W, z);
        expect(!bits == !(kind & 1) && (!bits || close(results, z, zs, 1e-3)), "z", w, outputs);
        bits = sets[set].dW(outputs, w, x, dz, dW);
        expect(!bits == !(kind & 1) && (!bits || close(weights, dW, dWs, 1e-3)), "dW", w, outputs);
        bits = sets[set].dx(outputs, w, dz, W, dx);
        expect(!bits == !(kind & 2) && (!bits || close(inputs, dx, dxs, 1e-3)), "dx", w, outputs);
        if (sets[set].small(outputs, w, x, W, z))
            expect(close(results, z, zs, 1e-3), "z of small windows", w, outputs);
        if (sets[set].small_dW(outputs, w, x, dz, dW))
            expect(close(weights, dW, dWs, 1e-3), "dW of small windows", w, outputs);
        if (kind & 1) {
            x[inputs - 1] = 0;
            expect(!sets[set].z(outputs, w, x, W, z), "a zero in x", w, outputs);
            expect(!sets[set].dW(outputs, w, x, dz, dW), "a zero in x", w, outputs);
        }
        if (kind & 2) {
            W[weights - 1] = 0;
            expect(!sets[set].dx(outputs, w, dz, W, dx), "a zero in W", w, outputs);
        }
        free(x), free(W), free(dz);
    }
    free(z), free(dW), free(dx), free(zs), free(dWs), free(dxs);

    ptrdiff_t pooled = w->images * w->down * w->across * w->channels;
    float *x = reals(inputs), *y = malloc(4 * pooled), *back = malloc(4 * inputs);
    double total = 0;
    uint8_t *position = malloc(pooled);
    sets[set].pool(w, x, y, NULL);
    sets[set].pool(w, x, y, position);
    sets[set].unpool(w, y, position, back);
    for (ptrdiff_t i = 0; i < pooled; i++)
        total += y[i];
    for (ptrdiff_t i = 0; i < inputs; i++)
        total -= back[i];
    expect(fabs(total) < 1e-2, "a gradient is lost in pooling", w, 0);
    free(x), free(y), free(back), free(position);
}

/* With an argument, only each so-manieth shape. */
int main(int count, char **arguments)
{
    int step = count > 1 ? atoi(arguments[1]) : 1;
    minibnn_use_blas(NULL, NULL, NULL, 0, 3); /* three threads */
    ptrdiff_t channels[] = {1, 3, 31, 32, 33, 64}, outputs[] = {1, 33};
    ptrdiff_t shapes[][9] = {/* images, more rows and columns; height and width, strides, dilations */
        {1, 0, 0, 1, 1, 1, 1, 1, 1}, {2, 4, 6, 3, 3, 1, 1, 1, 1}, {9, 2, 17, 3, 2, 1, 1, 2, 3},
        {3, 9, 8, 2, 5, 3, 2, 1, 1}, {90, 3, 3, 3, 3, 1, 1, 1, 1}, {1, 20, 70, 3, 3, 2, 3, 1, 2}};
    for (int set = 0; set <= minibnn_instruction_set(); set++)
        for (int t = 0; t < 6 * 6 * 2; t += step) {
            ptrdiff_t *s = shapes[t / 12];
            struct windows w = {s[0], (s[3] - 1) * s[7] + 1 + s[1], (s[4] - 1) * s[8] + 1 + s[2],
                                channels[t % 6], s[3], s[4], s[5], s[6], s[7], s[8],
                                s[1] / s[5] + 1, s[2] / s[6] + 1};
            check(set, &w, outputs[t / 6 % 2]);
        }
    puts("all as expected");
}
