/* Primitives of the CPU backend in C: one pass over memory where NumPy needs one for each operation.
 *
 * Built when minibnn is installed, if there is a C compiler (tools/build_kernels.py); without it the
 * NumPy bodies do the same. Each function computes what its NumPy twin in numpy_backend.py computes,
 * in the same order and without fused multiply-adds, so that the two agree to the last bit.
 * The compiler makes them vector code for each generation of processors, and the one that fits is
 * chosen when the library is loaded.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EXPORT __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EXPORT
#endif

/* Which text this library was built from: compiled.py compares it with the file beside it. */
#if defined(_WIN32)
__declspec(dllexport)
#endif
uint32_t minibnn_source(void) { return MINIBNN_SOURCE; }

/* y = +1 where x >= 0 (both zeros), else -1; nan stays nan. */
EXPORT void minibnn_binarize(ptrdiff_t n, const float *restrict x, float *restrict y)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float sign = x[i] < 0.0f ? -1.0f : 1.0f;
        y[i] = x[i] == x[i] ? sign : x[i];
    }
}

/* Adam; rate and epsilon take in the factors of both moments. bound is infinite for none. */
EXPORT void minibnn_adam(ptrdiff_t n, float *restrict w, const float *restrict g,
                         float *restrict m, float *restrict v, float beta1, float beta2,
                         float rate, float epsilon, float bound)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float new_m = m[i] * beta1 + g[i];
        float new_v = v[i] * beta2 + g[i] * g[i];
        float new_w = w[i] - new_m / (sqrtf(new_v) + epsilon) * rate;
        new_w = new_w > bound ? bound : new_w;
        m[i] = new_m;
        v[i] = new_v;
        w[i] = new_w < -bound ? -bound : new_w;
    }
}
