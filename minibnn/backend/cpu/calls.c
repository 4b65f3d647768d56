/* The functions that Python calls: each passes arrays on to a kernel as the addresses of their data.
 *
 * Python has the address of an array's object at once; asking for the address of its data takes ten
 * times as long. This is in the object, behind the part that all Python objects have: the first field
 * of NumPy's PyArrayObject, whose layout is part of its ABI. c_kernels.py compares it with the address
 * that NumPy tells; if they differ, Python passes addresses of data.
 */
#include <stddef.h>

typedef ptrdiff_t L; /* a length or a distance */
typedef void *P;     /* an array, or NULL */
typedef float F;

static ptrdiff_t offset; /* of the data's address in an array's object; 0 if data are passed */

void minibnn_pass_arrays(ptrdiff_t offset_of_data) { offset = offset_of_data; }

static inline P at(P array) { return array && offset ? *(P *)((char *)array + offset) : array; }

/* Declare a kernel, and define its caller. */
#define CALL(type, name, TYPES, ARGUMENTS, VALUES)                                                \
    type minibnn_##name TYPES;                                                                    \
    type minibnn_call_##name ARGUMENTS { return minibnn_##name VALUES; }

/* Those that there is once for each instruction set. */
#define CALLS(set)                                                                                \
    CALL(int, product_##set, (L, L, L, L, L, L, L, L, P, P, P),                                   \
         (L n, L k, L m, L a_down, L a_right, L b_down, L b_right, L kinds, P a, P b, P z),       \
         (n, k, m, a_down, a_right, b_down, b_right, kinds, at(a), at(b), at(z)))                 \
    CALL(int, sparse_product_##set, (L, L, L, L, L, L, L, P, P, P),                               \
         (L n, L k, L m, L a_down, L a_right, L b_down, L b_right, P a, P b, P z),                \
         (n, k, m, a_down, a_right, b_down, b_right, at(a), at(b), at(z)))                        \
    CONVOLUTION_CALL(convolve_##set)                                                              \
    CONVOLUTION_CALL(convolve_dW_##set)                                                           \
    CONVOLUTION_CALL(convolve_dx_##set)                                                           \
    CONVOLUTION_CALL(convolve_small_##set)                                                        \
    CONVOLUTION_CALL(convolve_small_dW_##set)                                                     \
    POOLING_CALL(max_pool_##set)                                                                  \
    POOLING_CALL(max_pool_gradient_##set)

/* The windows are a structure, not an array. */
#define CONVOLUTION_CALL(name)                                                                    \
    CALL(int, name, (L, P, P, P, P), (L outputs, P windows, P a, P b, P c),                       \
         (outputs, windows, at(a), at(b), at(c)))

#define POOLING_CALL(name)                                                                        \
    CALL(void, name, (P, P, P, P), (P windows, P a, P b, P c), (windows, at(a), at(b), at(c)))

CALLS(portable)
#if defined(__x86_64__)
CALLS(avx2)
CALLS(avx512)
CALLS(avx512_vpopcntdq)
#endif

CALL(int, blas_product, (L, L, L, L, L, L, L, P, P, P),
     (L n, L k, L m, L a_down, L a_right, L b_down, L b_right, P a, P b, P z),
     (n, k, m, a_down, a_right, b_down, b_right, at(a), at(b), at(z)))

CALL(void, binary_sign, (L, P, P), (L n, P x, P y), (n, at(x), at(y)))

CALL(void, straight_through_gradient, (L, P, P, P, F), (L n, P dy, P x, P dx, F clip),
     (n, at(dy), at(x), at(dx), clip))

CALL(void, rescale_bytes, (L, P, P, F, F), (L n, P x, P y, F scale, F shift),
     (n, at(x), at(y), scale, shift))

CALL(int, all_finite, (L, P), (L n, P x), (n, at(x)))

CALL(void, batch_sums, (L, L, L, P, P, P), (L rows, L width, L channels, P x, P sums, P columns),
     (rows, width, channels, at(x), at(sums), at(columns)))

CALL(void, batch_norm, (L, L, L, P, P, P, P, P, P, P, F),
     (L rows, L width, L channels, P x, P gamma, P beta, P y, P x_hat, P stats, P columns, F epsilon),
     (rows, width, channels, at(x), at(gamma), at(beta), at(y), at(x_hat), at(stats), at(columns),
      epsilon))

CALL(void, center, (L, L, L, P, P, P, P, P),
     (L rows, L width, L channels, P x, P mean, P x_hat, P squares, P columns),
     (rows, width, channels, at(x), at(mean), at(x_hat), at(squares), at(columns)))

CALL(void, scale_centered, (L, L, L, P, P, P, P, P, P),
     (L rows, L width, L channels, P inv_std, P gamma, P beta, P x_hat, P y, P columns),
     (rows, width, channels, at(inv_std), at(gamma), at(beta), at(x_hat), at(y), at(columns)))

CALL(void, batch_norm_dx, (L, L, L, P, P, P, P, P, P, P, P, F),
     (L rows, L width, L channels, P dy, P x_hat, P inv_std, P gamma, P dgamma, P dbeta, P dx,
      P columns, F n),
     (rows, width, channels, at(dy), at(x_hat), at(inv_std), at(gamma), at(dgamma), at(dbeta), at(dx),
      at(columns), n))

CALL(void, batch_norm_gradient, (L, L, L, P, P, P, P, P, P, P, P),
     (L rows, L width, L channels, P dy, P x_hat, P inv_std, P gamma, P dgamma, P dbeta, P dx,
      P columns),
     (rows, width, channels, at(dy), at(x_hat), at(inv_std), at(gamma), at(dgamma), at(dbeta), at(dx),
      at(columns)))

CALL(void, update_running, (L, P, P, P, P, F, F, F),
     (L n, P running_mean, P running_var, P mean, P var, F momentum, F rest, F factor),
     (n, at(running_mean), at(running_var), at(mean), at(var), momentum, rest, factor))

CALL(void, log_softmax, (L, L, P, P, P), (L rows, L width, P x, P logp, P p),
     (rows, width, at(x), at(logp), at(p)))

CALL(int, cross_entropy, (L, L, L, P, P, P, P, P),
     (L rows, L classes, L bytes, P logits, P labels, P logp, P p, P scores),
     (rows, classes, bytes, at(logits), at(labels), at(logp), at(p), at(scores)))

CALL(int, cross_entropy_gradient, (L, L, L, P, P, P, F),
     (L rows, L classes, L bytes, P p, P labels, P dlogits, F share),
     (rows, classes, bytes, at(p), at(labels), at(dlogits), share))

CALL(int, count_correct, (L, L, L, P, P), (L rows, L classes, L bytes, P x, P labels),
     (rows, classes, bytes, at(x), at(labels)))

CALL(void, adam, (L, P, P, P, P, F, F, F, F, F, F, F),
     (L n, P w, P g, P m, P v, F beta1, F rest1, F beta2, F rest2, F alpha_t, F epsilon_hat, F bound),
     (n, at(w), at(g), at(m), at(v), beta1, rest1, beta2, rest2, alpha_t, epsilon_hat, bound))
