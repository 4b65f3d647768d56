// The im2col matrix of a convolution, in training and in packed models (there `window_rows`), and the
// reverse. Follows `windows.cu`.

// The im2col matrix: out[window, (i, j, channel)] = x. blockIdx.y is i.
KERNEL im2col(T* __restrict__ out, const T* __restrict__ x, u32 count, int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    // Without dilation, the pixels of one row of a window are one run of values.
    const bool dense = w.dilation_x == 1;
    const int runs = dense ? 1 : w.width, run = dense ? w.width * channels : channels;
    x += corner(index_of(number, w.down, w.across), w, channels);
    x += (i64)blockIdx.y * w.dilation_y * w.columns * channels;
    out += ((i64)number * w.height + blockIdx.y) * w.width * channels;
    for (int j = 0; j < runs; ++j) {
        for (int c = threadIdx.x; c < run; c += blockDim.x) out[c] = x[c];
        out += run;
        x += (i64)w.dilation_x * channels;
    }
}

// The reverse: dx[pixel] = sum of the matrix's values over all windows that contain the pixel.
KERNEL col2im(T* __restrict__ dx, const T* __restrict__ matrix, u32 count, int channels, WINDOWS) {
    const Windows w = AS_GIVEN;
    u32 number = thread_number();
    if (number >= count) return;
    const Index pixel = index_of(number, w.rows, w.columns);
    const i64 positions = (i64)w.height * w.width;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T sum = 0;
        windows_of(pixel, w, [&](int k, i64 window) {
            sum += matrix[(window * positions + k) * channels + c];
        });
        dx[(i64)number * channels + c] = sum;
    }
}
