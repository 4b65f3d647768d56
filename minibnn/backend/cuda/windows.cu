// Windows on images: the matrix of windows of a convolution, the way back from it, and pooling.
// Their equations stand in `backend/base.py` and `backend/pooling.py`.
//
// A thread has threadIdx.y and blockIdx.x for its place (a window or a pixel), which it keeps, and
// threadIdx.x for its channel: neighbouring threads read and write neighbouring channels. Only the
// place costs divisions, two or four for all channels and positions that the thread goes through.

struct Windows {
    int rows, columns;  // of an image
    int down, across;   // windows below and beside each other
    int height, width;  // of a window
    int stride_y, stride_x, dilation_y, dilation_x;
};

#define WINDOWS                                                                                \
    int rows, int columns, int down, int across, int height, int width, int stride_y,          \
        int stride_x, int dilation_y, int dilation_x
#define AS_GIVEN                                                                               \
    { rows, columns, down, across, height, width, stride_y, stride_x, dilation_y, dilation_x }

struct Place {
    i64 image;
    int row, column;
};

__device__ u32 place_number() { return blockIdx.x * blockDim.y + threadIdx.y; }

__device__ Place place(u32 number, u32 rows, u32 columns) {
    u32 line = number / columns;
    return {line / rows, int(line % rows), int(number % columns)};
}

// Where, in values of x, channel 0 of the pixel lies that a window sees at its position (0, 0).
__device__ i64 corner(const Place& window, const Windows& w, int channels) {
    i64 line = (window.image * w.rows + window.row * w.stride_y) * w.columns;
    return (line + window.column * w.stride_x) * channels;
}

// Calls see(k, window) for all windows that see a pixel, in the order of its positions k in them:
// every sum over windows has the same order, and needs no atomics.
template <typename See>
__device__ void windows_of(const Place& pixel, const Windows& w, See see) {
    // The pixel is in row i of window p where p stride + i dilation = row: `rest` is what is left of
    // row - i dilation beside p strides.
    int p = pixel.row / w.stride_y, rest_y = pixel.row % w.stride_y;
    const int last_q = pixel.column / w.stride_x, last_rest = pixel.column % w.stride_x;
    for (int i = 0; i < w.height && p >= 0; ++i) {
        if (rest_y == 0 && p < w.down) {
            i64 line = (pixel.image * w.down + p) * w.across;
            int q = last_q, rest_x = last_rest;
            for (int j = 0; j < w.width && q >= 0; ++j) {
                if (rest_x == 0 && q < w.across) see(i * w.width + j, line + q);
                for (rest_x -= w.dilation_x; rest_x < 0; rest_x += w.stride_x) --q;
            }
        }
        for (rest_y -= w.dilation_y; rest_y < 0; rest_y += w.stride_y) --p;
    }
}

// The matrix of windows: out[window, (i, j, channel)] = x. blockIdx.y is i.
KERNEL columns_of_windows(T* __restrict__ out, const T* __restrict__ x, u32 count, int channels,
                          WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    // Side by side, the pixels of one row of a window are one run of values.
    const bool dense = w.dilation_x == 1;
    const int runs = dense ? 1 : w.width, run = dense ? w.width * channels : channels;
    x += corner(place(number, w.down, w.across), w, channels);
    x += (i64)blockIdx.y * w.dilation_y * w.columns * channels;
    out += ((i64)number * w.height + blockIdx.y) * w.width * channels;
    for (int j = 0; j < runs; ++j) {
        for (int c = threadIdx.x; c < run; c += blockDim.x) out[c] = x[c];
        out += run;
        x += (i64)w.dilation_x * channels;
    }
}

// The other way: dx[pixel] = sum of the rows' values over all windows that saw the pixel.
KERNEL sums_over_windows(T* __restrict__ dx, const T* __restrict__ rows_of_windows, u32 count,
                         int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    const Place pixel = place(number, w.rows, w.columns);
    const i64 positions = (i64)w.height * w.width;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int k, i64 window) {
            sum += rows_of_windows[(window * positions + k) * channels + c];
        });
        dx[(i64)number * channels + c] = sum;
    }
}

__device__ bool is_nan(float x) { return isnan(x); }
__device__ bool is_nan(double x) { return isnan(x); }
__device__ bool is_nan(int) { return false; }

// `at`, unless null, gets the position of the first maximum.
KERNEL max_pool(T* __restrict__ y, u8* __restrict__ at, const T* __restrict__ x, u32 count,
                int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    x += corner(place(number, w.down, w.across), w, channels);
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

KERNEL max_pool_dx(T* __restrict__ dx, const T* __restrict__ dy, const u8* __restrict__ at,
                   u32 count, int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    const Place pixel = place(number, w.rows, w.columns);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int k, i64 window) {
            i64 here = window * channels + c;
            sum += dy[here] * T(at[here] == k);  // a product, as in the plain body
        });
        dx[(i64)number * channels + c] = sum;
    }
}

KERNEL average_pool(T* __restrict__ y, const T* __restrict__ x, T share, u32 count, int channels,
                    WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    x += corner(place(number, w.down, w.across), w, channels);
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

KERNEL average_pool_dx(T* __restrict__ dx, const T* __restrict__ dy, T share, u32 count,
                       int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = place_number();
    if (number >= count) return;
    const Place pixel = place(number, w.rows, w.columns);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int, i64 window) { sum += dy[window * channels + c] * share; });
        dx[(i64)number * channels + c] = sum;
    }
}
