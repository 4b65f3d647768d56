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

/* How many windows an image has, and how many values a window has. */
INLINE ptrdiff_t windows_of(const struct windows *w) { return w->down * w->across; }
INLINE ptrdiff_t values_of(const struct windows *w) { return w->height * w->width * w->channels; }

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

/* The gradient of the results, (images, down, across, outputs), or a part of it: rows and images may
 * have gaps between them. */
struct results {
    const float *at;
    ptrdiff_t rows_apart, images_apart;
};

/* Whether all numbers are 0 in `rows` rows of n, `apart` from each other. */
static bool all_zero(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t apart, const float *a)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        words nonzero = {0};
        ptrdiff_t i = 0;
        for (; i + FLOATS <= n; i += FLOATS)
            nonzero |= (words)(*(const floats_at *)(a + r * apart + i) != (floats){0});
        for (; i < n; i++)
            nonzero[0] |= a[r * apart + i] != 0.0f;
        if (any(nonzero))
            return false;
    }
    return true;
}

/* Leave out the last row and the last column of the results if these are zeros. They are zeros if a
 * pooling ignored them; see convolution.py. */
static struct results without_zero_edge(struct windows *w, ptrdiff_t outputs, const float *dz)
{
    ptrdiff_t row = w->across * outputs, image = w->down * row;
    if (w->down > 1 && all_zero(w->images, row, image, dz + image - row))
        w->down--;
    if (w->across > 1 && all_zero(w->images * image / row, outputs, row, dz + row - outputs))
        w->across--;
    return (struct results){dz, row, image};
}

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
