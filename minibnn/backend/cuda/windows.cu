// What the kernels of convolution and pooling share: windows on images.
//
// blockIdx.x and threadIdx.y choose a thread's window or pixel, threadIdx.x its first channel, so
// neighbouring threads read and write neighbouring channels. Divisions are needed only to find the
// window or pixel: two or four for all channels and positions of a thread.

struct Windows {
    int rows, columns;  // of an image
    int down, across;   // number of windows in each direction
    int height, width;  // of a window
    int stride_y, stride_x, dilation_y, dilation_x;
};

#define WINDOWS                                                                                \
    int rows, int columns, int down, int across, int height, int width, int stride_y,          \
        int stride_x, int dilation_y, int dilation_x
#define AS_GIVEN                                                                               \
    { rows, columns, down, across, height, width, stride_y, stride_x, dilation_y, dilation_x }

struct Index {
    i64 image;
    int row, column;
};

__device__ u32 thread_number() { return blockIdx.x * blockDim.y + threadIdx.y; }

__device__ Index index_of(u32 number, u32 rows, u32 columns) {
    u32 line = number / columns;
    return {line / rows, int(line % rows), int(number % columns)};
}

// The index in x of channel 0 of the pixel at a window's position (0, 0).
__device__ i64 corner(const Index& window, const Windows& w, int channels) {
    i64 line = (window.image * w.rows + window.row * w.stride_y) * w.columns;
    return (line + window.column * w.stride_x) * channels;
}

// Calls see(k, window) for all windows that contain a pixel, in the order of its positions k in them.
// So every sum over windows has the same order and needs no atomics.
template <typename See>
__device__ void windows_of(const Index& pixel, const Windows& w, See see) {
    // The pixel is in row i of window p if p stride + i dilation = row. The rest is
    // row - i dilation - p stride.
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
