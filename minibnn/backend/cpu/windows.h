/* The windows of a convolution or a pooling; see minibnn/windows.py. Included after products.h, once
 * for each instruction set.
 *
 * Images x are (images, rows, columns, channels), stored row by row without gaps. There are `down`
 * times `across` windows on each, of `height` times `width` positions. windows.py fills this.
 */
#include "threads.h"

struct windows {
    ptrdiff_t images, rows, columns, channels;
    ptrdiff_t height, width, stride_y, stride_x, dilation_y, dilation_x;
    ptrdiff_t down, across;
};

/* The number of the pixel in the upper left corner of window (p, q) of image n. */
INLINE ptrdiff_t corner(const struct windows *w, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q)
{
    return (n * w->rows + p * w->stride_y) * w->columns + q * w->stride_x;
}

/* From there to the pixel at position (i, j). */
INLINE ptrdiff_t pixel(const struct windows *w, ptrdiff_t i, ptrdiff_t j)
{
    return i * w->dilation_y * w->columns + j * w->dilation_x;
}

/* Part of the results for windows, (images, down, across, outputs); rows and images may have gaps
 * between them. */
struct results {
    const float *at;
    ptrdiff_t rows_apart, images_apart;
};

/* to += from, of n numbers. */
INLINE void add(ptrdiff_t n, const float *from, float *to)
{
    ptrdiff_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        *(floats_at *)(to + i) += *(const floats_at *)(from + i);
    for (; i < n; i++)
        to[i] += from[i];
}

/* The sum of some parts, each of `size` numbers, one after the other. */
static void sum_parts(ptrdiff_t parts, ptrdiff_t size, const float *part, float *sum)
{
    memcpy(sum, part, (size_t)size * sizeof *sum);
    for (ptrdiff_t t = 1; t < parts; t++)
        add(size, part + t * size, sum);
}
