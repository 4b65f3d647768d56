/* `products.h` for x86-64 with AVX-512, which counts bits by tables of nibbles. */
#if defined(__x86_64__)
#define PRODUCT minibnn_product_avx512
#define SPARSE_PRODUCT minibnn_sparse_product_avx512
#define FLOATS 16
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2")
#endif
#include "products.h"
#include "sparse.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
