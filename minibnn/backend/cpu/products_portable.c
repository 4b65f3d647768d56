/* `products.h` for every processor: SSE2 on x86-64, NEON on ARM. */
#define NAMED(name) minibnn_##name##_portable
#define FLOATS 4
#include "products.h"
#include "windows.h"
#include "convolutions.h"
#include "pooling.h"
#include "small_windows.h"
#include "sparse.h"

/* The number of the best instruction set that this processor has; see c_kernels.py. */
int minibnn_instruction_set(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init(); /* the answers below need it in code that runs early */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
        return 0;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 1;
    return __builtin_cpu_supports("avx512vpopcntdq") ? 3 : 2;
#else
    return 0;
#endif
}
