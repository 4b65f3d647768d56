/* Max pooling and its gradient, an image at a time. Included after windows.h.
 *
 * Values are compared and added in the order of the reference, in minibnn/layers/pooling.py.
 */
typedef uint8_t bytes __attribute__((vector_size(FLOATS)));
typedef bytes bytes_at __attribute__((aligned(1), may_alias));
typedef uint16_t shorts __attribute__((vector_size(2 * FLOATS)));

/* Between a vector of words and one of bytes. Compilers convert lane by lane if both steps are
 * one. */
INLINE words of_bytes(const uint8_t *p)
{
    bytes v = *(const bytes_at *)p;
#if FLOATS == 16
    return (words)_mm512_cvtepu8_epi32((__m128i)v);
#else
    return __builtin_convertvector(__builtin_convertvector(v, shorts), words);
#endif
}
INLINE bytes to_bytes(words v)
{
#if FLOATS == 16
    return (bytes)_mm512_cvtepi32_epi8((__m512i)v);
#else
    return __builtin_convertvector(__builtin_convertvector(v, shorts), bytes);
#endif
}

struct pooling {
    const struct windows *w;
    const float *from;
    float *to;
    uint8_t *position; /* of the maximum in its window; NULL if it is not wanted */
};

/* y = the largest value of each window, of one channel. */
INLINE float largest(const struct windows *w, const float *x, uint8_t *position)
{
    float best = *x;
    *position = 0;
    for (ptrdiff_t i = 0; i < w->height; i++)
        for (ptrdiff_t j = 0; j < w->width; j++) {
            float value = x[pixel(w, i, j) * w->channels];
            if (value > best)
                *position = (uint8_t)(i * w->width + j);
            if (value > best || value != value)
                best = value;
        }
    return best;
}

/* The same, of a vector of channels. A comparison gives a lane of ones where it holds. */
INLINE floats largest_of_each(const struct windows *w, const float *x, words *position)
{
    words best = *(const words_at *)x, first = {0};
    for (ptrdiff_t i = 0; i < w->height; i++)
        for (ptrdiff_t j = 0; j < w->width; j++) {
            words bits = *(const words_at *)(x + pixel(w, i, j) * w->channels);
            floats value = (floats)bits;
            words higher = (words)(value > (floats)best), is_nan = (words)(value != value);
            first = (first & ~higher) | ((uint32_t)(i * w->width + j) & higher);
            higher |= is_nan;
            best = (best & ~higher) | (bits & higher);
        }
    *position = first;
    return (floats)best;
}

static void pool_image(ptrdiff_t n, void *argument)
{
    const struct pooling *task = argument;
    const struct windows windows = *task->w, *w = &windows; /* a copy: no store can change it */
    ptrdiff_t channels = w->channels, values = w->down * w->across * channels;
    float *y = task->to + n * values;
    uint8_t unwanted, *position = task->position == NULL ? NULL : task->position + n * values;
    for (ptrdiff_t p = 0; p < w->down; p++)
        for (ptrdiff_t q = 0; q < w->across; q++) {
            const float *x = task->from + corner(w, n, p, q) * channels;
            ptrdiff_t c = 0;
            for (; c + FLOATS <= channels; c += FLOATS) {
                words first;
                *(floats_at *)(y + c) = largest_of_each(w, x + c, &first);
                if (position != NULL)
                    *(bytes_at *)(position + c) = to_bytes(first);
            }
            for (; c < channels; c++)
                y[c] = largest(w, x + c, position == NULL ? &unwanted : position + c);
            y += channels;
            position = position == NULL ? NULL : position + channels;
        }
}

/* y and position (images, down, across, channels) for x; position may be NULL. */
void NAMED(max_pool)(const struct windows *w, const float *x, float *y, uint8_t *position)
{
    minibnn_run(w->images, pool_image, &(struct pooling){w, x, y, position});
}

/* dx = dy where position is k, else 0; added if windows overlap. A product, so that nan stays nan. */
INLINE void give_back(ptrdiff_t channels, int k, bool add, const float *dy,
                      const uint8_t *position, float *dx)
{
    const words one = (words)((floats){0} + 1.0f);
    ptrdiff_t c = 0;
    for (; c + FLOATS <= channels; c += FLOATS) {
        words here = (words)(of_bytes(position + c) == (words){0} + (uint32_t)k);
        floats given = *(const floats_at *)(dy + c) * (floats)(here & one);
        if (add)
            given += *(floats_at *)(dx + c);
        *(floats_at *)(dx + c) = given;
    }
    for (; c < channels; c++) {
        float given = dy[c] * (position[c] == k ? 1.0f : 0.0f);
        dx[c] = add ? dx[c] + given : given;
    }
}

/* The same for the windows of some rows of them, p from `top` to `end`. */
INLINE void give_back_rows(const struct pooling *task, const struct windows *w, ptrdiff_t n,
                           ptrdiff_t top, ptrdiff_t end, bool add)
{
    ptrdiff_t channels = w->channels;
    for (ptrdiff_t i = 0; i < w->height; i++)
        for (ptrdiff_t j = 0; j < w->width; j++) {
            ptrdiff_t from = (n * w->down + top) * w->across * channels;
            for (ptrdiff_t p = top; p < end; p++)
                for (ptrdiff_t q = 0; q < w->across; q++, from += channels)
                    give_back(channels, (int)(i * w->width + j), add, task->from + from,
                              task->position + from,
                              task->to + (corner(w, n, p, q) + pixel(w, i, j)) * channels);
        }
}

static void unpool_image(ptrdiff_t n, void *argument)
{
    const struct pooling *task = argument;
    const struct windows windows = *task->w, *w = &windows;
    ptrdiff_t pixels = w->rows * w->columns, size = pixels * w->channels;
    bool overlap = (w->height - 1) * w->dilation_y >= w->stride_y ||
                   (w->width - 1) * w->dilation_x >= w->stride_x;
    if (overlap || windows_of(w) * w->height * w->width < pixels) /* else all are written below */
        memset(task->to + n * size, 0, (size_t)size * sizeof *task->to);
    if (overlap) /* in the order of the reference: position by position */
        give_back_rows(task, w, n, 0, w->down, true);
    else
        for (ptrdiff_t p = 0; p < w->down; p++)
            give_back_rows(task, w, n, p, p + 1, false);
}

/* dx for dy and the positions of the maxima. */
void NAMED(max_pool_gradient)(const struct windows *w, const float *dy, uint8_t *position, float *dx)
{
    minibnn_run(w->images, unpool_image, &(struct pooling){w, dy, dx, position});
}
