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
