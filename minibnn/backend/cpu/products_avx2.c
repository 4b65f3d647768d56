/* `products.h` for x86-64 with AVX2. */
#if defined(__x86_64__)
#define PRODUCT minibnn_product_avx2
#define SPARSE_PRODUCT minibnn_sparse_product_avx2
#define FLOATS 8
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2")
#endif
#include "products.h"
#include "sparse.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
