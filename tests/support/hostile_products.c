/* Products on bits of every shape of tail, against sums in double; to be built with sanitizers. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef int product(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                    ptrdiff_t, const float *, const float *, float *);
product minibnn_product_portable, minibnn_product_avx2, minibnn_product_avx512,
    minibnn_product_avx512_vpopcntdq;
typedef int other_product(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                          const float *, const float *, float *);
other_product minibnn_sparse_product_portable, minibnn_sparse_product_avx2,
    minibnn_sparse_product_avx512, minibnn_sparse_product_avx512_vpopcntdq;
int minibnn_instruction_set(void);
void minibnn_use_blas(int (*)(void), void (*)(int), void *, int, int);

/* Blocks of exactly the size of each matrix: a read beyond one is found. */
static void check(product *f, ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, int layout, int kind, int wrong)
{
    float *a = malloc(4 * n * k), *b = malloc(4 * k * m), *z = malloc(4 * n * m);
    for (ptrdiff_t i = 0; i < n * k; i++)
        a[i] = kind == 2 ? (float)rand() / (float)RAND_MAX - 0.5f : rand() & 64 ? 1 : -1;
    for (ptrdiff_t i = 0; i < k * m; i++)
        b[i] = kind == 1 ? (float)rand() / (float)RAND_MAX - 0.5f : rand() & 64 ? 1 : -1;
    if (wrong && kind & 1)
        a[n * k - 1] = 0;
    if (wrong && kind & 2)
        b[k * m - 1] = 0;
    ptrdiff_t a_down = layout & 1 ? 1 : k, a_right = layout & 1 ? n : 1;
    ptrdiff_t b_down = layout & 2 ? 1 : m, b_right = layout & 2 ? k : 1;
    int done = f(n, k, m, 4 * a_down, 4 * a_right, 4 * b_down, 4 * b_right, 14, a, b, z);
    int bad = done != (wrong ? 0 : kind);
    for (ptrdiff_t i = 0; done && i < n; i++)
        for (ptrdiff_t j = 0; j < m; j++) {
            double sum = 0;
            for (ptrdiff_t s = 0; s < k; s++)
                sum += (double)a[i * a_down + s * a_right] * b[s * b_down + j * b_right];
            bad |= !(fabs(z[i * m + j] - sum) <= (kind == 3 ? 0 : 1e-5 * k));
        }
    if (bad) {
        printf("%td %td %td, layout %d, kind %d, wrong %d\n", n, k, m, layout, kind, wrong);
        exit(1);
    }
    free(a), free(b), free(z);
}

/* A left operand of zeros, except for its first value and its last. */
static void check_sparse(other_product *f, ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, int layout, int wrong)
{
    float *a = calloc(n * k, 4), *b = malloc(4 * k * m), *z = malloc(4 * n * m);
    a[n * k - 1] = 2, a[0] = 3;
    for (ptrdiff_t i = 0; i < k * m; i++)
        b[i] = (float)rand() / (float)RAND_MAX;
    if (wrong)
        b[k * m - 1] = INFINITY;
    ptrdiff_t a_down = layout ? 1 : k, a_right = layout ? n : 1;
    int done = f(n, k, m, 4 * a_down, 4 * a_right, 4 * m, 4, a, b, z);
    int bad = n * k >= 200 && done != !wrong;
    for (ptrdiff_t i = 0; done && i < n; i++)
        for (ptrdiff_t j = 0; j < m; j++) {
            double sum = 0;
            for (ptrdiff_t s = 0; s < k; s++)
                sum += (double)a[i * a_down + s * a_right] * b[s * m + j];
            bad |= !(fabs(z[i * m + j] - sum) <= 1e-5);
        }
    if (bad) {
        printf("sparse %td %td %td, layout %d, wrong %d\n", n, k, m, layout, wrong);
        exit(1);
    }
    free(a), free(b), free(z);
}

/* With an argument, only each so-manieth shape: some sanitizers are slow. */
int main(int count, char **arguments)
{
    int step = count > 1 ? atoi(arguments[1]) : 1;
    minibnn_use_blas(NULL, NULL, NULL, 0, 3); /* three threads */
    product *all[] = {minibnn_product_portable,
#if defined(__x86_64__)
        minibnn_product_avx2, minibnn_product_avx512, minibnn_product_avx512_vpopcntdq
#endif
    };
    other_product *others[] = {minibnn_sparse_product_portable,
#if defined(__x86_64__)
        minibnn_sparse_product_avx2, minibnn_sparse_product_avx512,
        minibnn_sparse_product_avx512_vpopcntdq
#endif
    };
    ptrdiff_t sizes[] = {1, 3, 31, 65, 129}, large[][3] = {
        {1, 1025, 1}, {530, 70, 300}, {3, 300, 1030}, {70, 1100, 3}, {1, 1, 1000}, {1000, 1, 1}};
    for (int set = 0; set <= minibnn_instruction_set(); set++)
        for (int t = 0; t < 125 + 6; t += step)
            for (int layout = 0; layout < 4; layout += step) {
                ptrdiff_t three[] = {sizes[t % 5], sizes[t / 5 % 5], sizes[t / 25 % 5]};
                ptrdiff_t *size = t < 125 ? three : large[t - 125];
                check_sparse(others[set], size[0], size[1], size[2], layout & 1, layout >> 1);
                for (int kind = 1; kind < 4; kind++) {
                    check(all[set], size[0], size[1], size[2], layout, kind, 0);
                    check(all[set], size[0], size[1], size[2], layout, kind, 1);
                }
            }
    puts("all as expected");
}
