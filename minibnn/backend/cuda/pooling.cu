// Pooling: a value for each window and channel, and its gradient. Follows `windows.cu`.

__device__ bool is_nan(float x) { return isnan(x); }
__device__ bool is_nan(double x) { return isnan(x); }
__device__ bool is_nan(int) { return false; }

// `at`, if not null, gets the position of the first maximum.
KERNEL max_pool(T* __restrict__ y, u8* __restrict__ at, const T* __restrict__ x, u32 count,
                int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    x += corner(index_of(number, w.down, w.across), w, channels);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T best = x[c];
        int first = 0;
        for (int i = 0; i < w.height; ++i)
            for (int j = 0; j < w.width; ++j) {
                i64 pixel = (i64)i * w.dilation_y * w.columns + j * w.dilation_x;
                T value = x[pixel * channels + c];
                if (value > best) {  // never true once best is nan
                    best = value;
                    first = i * w.width + j;
                } else if (is_nan(value)) {
                    best = value;
                }
            }
        y[(i64)number * channels + c] = best;
        if (at) at[(i64)number * channels + c] = first;
    }
}

KERNEL max_pool_gradient(T* __restrict__ dx, const T* __restrict__ dy, const u8* __restrict__ at,
                         u32 count, int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    const Index pixel = index_of(number, w.rows, w.columns);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int k, i64 window) {
            i64 here = window * channels + c;
            sum += dy[here] * T(at[here] == k);  // a product, as in the reference
        });
        dx[(i64)number * channels + c] = sum;
    }
}

KERNEL average_pool(T* __restrict__ y, const T* __restrict__ x, T share, u32 count, int channels,
                    WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    x += corner(index_of(number, w.down, w.across), w, channels);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        for (int i = 0; i < w.height; ++i)
            for (int j = 0; j < w.width; ++j) {
                i64 pixel = (i64)i * w.dilation_y * w.columns + j * w.dilation_x;
                sum += x[pixel * channels + c];
            }
        y[(i64)number * channels + c] = sum * share;
    }
}

KERNEL average_pool_gradient(T* __restrict__ dx, const T* __restrict__ dy, T share, u32 count,
                             int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    const Index pixel = index_of(number, w.rows, w.columns);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int, i64 window) { sum += dy[window * channels + c] * share; });
        dx[(i64)number * channels + c] = sum;
    }
}
