/* Convolutions whose images or kernel are signs, on their bits. Included after windows.h.
 *
 * A convolution and its gradients are products with the im2col matrix, whose row is a window: its
 * `height` times `width` pixels, one after the other, k values. Here a row is k bits, 32 times
 * less to write and to read. The images are cut into blocks of some, which are independent tasks.
 */
#include <stdatomic.h>

enum {
    FORWARD_TASK = 1024, /* windows in a block of images, about */
    DW_TASK = 512,
    DW_PARTS = 1 << 22, /* numbers in the sums of all blocks, about */
    DX_TASK = 256,
    DX_WINDOWS = 32,    /* whose gradients are computed before they are added */
    LEAST_KERNEL = 512  /* weights for results by XNOR; tables are faster for fewer */
};

struct convolution {
    const struct windows *w;
    ptrdiff_t outputs, block; /* images in a task */
    const float *x, *W;
    struct results dz;
    const uint32_t *kernel; /* bits of W; NULL if it is not signs */
    float *out;
    atomic_bool refused; /* x is not signs, or there is no memory */
};

/* Images in a task of so many windows, and how many tasks there are. */
INLINE ptrdiff_t block_of(const struct windows *w, ptrdiff_t windows)
{
    ptrdiff_t images = windows / windows_of(w);
    return images < 1 ? 1 : least(images, w->images);
}
INLINE ptrdiff_t tasks_of(const struct convolution *c)
{
    return (c->w->images + c->block - 1) / c->block;
}

/* The bits of neighbouring values, as one string: bit v of it is 1 where value v is -1. There is a word
 * more than needed. NULL if a value is not a sign. */
static uint32_t *pack_string(ptrdiff_t values, const float *x)
{
    ptrdiff_t whole = values / WORD, rest = values % WORD;
    uint32_t *bits = malloc((size_t)(stride_of(whole) + 2) * sizeof *bits);
    if (bits == NULL)
        return NULL;
    if ((whole == 0 || pack((struct operand){whole, WORD, x, WORD, 1}, bits)) &&
        (rest == 0 || pack((struct operand){1, rest, x + whole * WORD, rest, 1}, bits + whole)))
        return bits;
    free(bits);
    return NULL;
}

/* For `across` windows, the first of which begins at bit `from`, and the others `apart` bits from one
 * to the next: move up to 32 bits, those of `mask`, into word to[0][window], beginning at bit `shift`.
 * What does not fit goes to the next word of the window, if `two`. */
INLINE void place_bits(ptrdiff_t across, const uint32_t *string, ptrdiff_t from, ptrdiff_t apart,
                       uint32_t mask, int shift, bool two, uint32_t *to, ptrdiff_t step)
{
    for (ptrdiff_t q = 0; q < across; q++, from += apart) {
        const uint32_t *at = string + from / WORD;
        uint32_t bits = (uint32_t)((at[0] | (uint64_t)at[1] << WORD) >> from % WORD) & mask;
        to[q] |= bits << shift;
        if (two)
            to[q + step] |= bits >> (WORD - shift);
    }
}

/* The same if all bits begin and end with a word. */
INLINE void place_words(ptrdiff_t across, const uint32_t *string, ptrdiff_t from, ptrdiff_t apart,
                        uint32_t *to)
{
    for (ptrdiff_t q = 0; q < across; q++)
        to[q] = string[(from + q * apart) / WORD];
}

/* The windows of some images, as packed rows of k signs; NULL if the images are not signs. A window
 * is some runs of neighbouring values: its rows or, with a dilation, its pixels. */
static uint32_t *pack_windows(const struct windows *given, ptrdiff_t images, const float *x)
{
    const struct windows w = *given;
    ptrdiff_t channels = w.channels, count = images * windows_of(&w), step = stride_of(count), at = 0;
    ptrdiff_t together = w.dilation_x == 1 ? w.width : 1, run = together * channels;
    uint32_t *string = pack_string(images * w.rows * w.columns * channels, x);
    uint32_t *windows = calloc((size_t)(words_of(values_of(&w)) * step), sizeof *windows);
    if (string == NULL || windows == NULL) {
        free(string), free(windows);
        return NULL;
    }
    for (ptrdiff_t i = 0; i < w.height; i++)
        for (ptrdiff_t j = 0; j < w.width; j += together)
            for (ptrdiff_t v = 0, bits; v < run; v += WORD, at += bits) {
                bits = least(WORD, run - v);
                int shift = at % WORD;
                uint32_t *to = windows + at / WORD * step, mask = UINT32_MAX >> (WORD - bits);
                for (ptrdiff_t n = 0; n < images; n++)
                    for (ptrdiff_t p = 0; p < w.down; p++, to += w.across) {
                        ptrdiff_t from = (corner(&w, n, p, 0) + pixel(&w, i, j)) * channels + v;
                        ptrdiff_t apart = w.stride_x * channels;
                        if (channels == WORD && w.stride_x == 1)
                            place_words(w.across, string, from, WORD, to);
                        else if (channels % WORD == 0)
                            place_words(w.across, string, from, apart, to);
                        else if (shift + bits > WORD)
                            place_bits(w.across, string, from, apart, mask, shift, true, to, step);
                        else
                            place_bits(w.across, string, from, apart, mask, shift, false, to, step);
                    }
            }
    free(string);
    return windows;
}

/* ---- z ------------------------------------------------------------------------------------------ */

static void convolve_block(ptrdiff_t task, void *argument)
{
    struct convolution *c = argument;
    ptrdiff_t first = task * c->block, images = least(c->block, c->w->images - first);
    ptrdiff_t k = values_of(c->w), count = images * windows_of(c->w);
    uint32_t *bits = pack_windows(c->w, images, c->x + corner(c->w, first, 0, 0) * c->w->channels);
    float *z = c->out + first * windows_of(c->w) * c->outputs;
    if (bits == NULL)
        atomic_store(&c->refused, true);
    else if (c->kernel != NULL)
        xnor(count, k, c->outputs, bits, c->kernel, z);
    else
        look_up_sums(bits, count, (struct operand){k, c->outputs, c->W, c->outputs, 1}, z,
                     c->outputs, 1);
    free(bits);
}

/* z = windows of x times W, if x is signs. Returns 3 if W is, too, 1 if it is not, and 0 if it did
 * not compute. */
int NAMED(convolve)(ptrdiff_t outputs, const struct windows *w, const float *x, const float *W,
                    float *z)
{
    struct operand X = {w->images * w->rows * w->columns, w->channels, x, w->channels, 1};
    struct operand kernel = {values_of(w), outputs, W, outputs, 1};
    if (!looks_like_signs(X))
        return 0;
    uint32_t *bits = malloc((size_t)(words_of(kernel.rows) * stride_of(outputs)) * sizeof *bits);
    if (bits == NULL)
        return 0;
    bool both = kernel.rows * outputs >= LEAST_KERNEL && pack(transposed(kernel), bits);
    struct convolution c = {w, outputs, block_of(w, FORWARD_TASK), x, W, {0}, both ? bits : NULL, z,
                            false};
    minibnn_run(tasks_of(&c), convolve_block, &c);
    free(bits);
    return c.refused ? 0 : both ? 3 : 1;
}

/* ---- dW ----------------------------------------------------------------------------------------- */

/* From rows of packed windows to columns: bit b of word i becomes bit i of word b. */
static void transpose_bits(ptrdiff_t windows, ptrdiff_t k, const uint32_t *from, uint32_t *to)
{
    ptrdiff_t from_step = stride_of(windows), to_step = stride_of(k);
    for (ptrdiff_t q = 0; q < words_of(windows); q++)
        for (ptrdiff_t r = 0; r < words_of(k); r++) {
            words v[WORD / FLOATS];
            memcpy(v, from + r * from_step + q * WORD, sizeof v);
            for (int b = WORD - 1; b >= 0; b--) {
                to[q * to_step + r * WORD + b] = sign_bits(v);
                for (int t = 0; t < WORD / FLOATS; t++)
                    v[t] <<= 1;
            }
        }
}

/* The results for some images, row by row without gaps: where they are, or copied. */
static const float *without_gaps(const struct convolution *c, ptrdiff_t first, ptrdiff_t images,
                                 float *copied)
{
    ptrdiff_t row = c->w->across * c->outputs, image = c->w->down * row;
    const float *dz = c->dz.at + first * c->dz.images_apart;
    if (c->dz.rows_apart == row && c->dz.images_apart == image)
        return dz;
    for (ptrdiff_t n = 0; n < images; n++)
        for (ptrdiff_t p = 0; p < c->w->down; p++)
            memcpy(copied + n * image + p * row, dz + n * c->dz.images_apart + p * c->dz.rows_apart,
                   (size_t)row * sizeof *dz);
    return copied;
}

static void convolve_dW_block(ptrdiff_t task, void *argument)
{
    struct convolution *c = argument;
    ptrdiff_t first = task * c->block, images = least(c->block, c->w->images - first);
    ptrdiff_t k = values_of(c->w), count = images * windows_of(c->w);
    uint32_t *bits = pack_windows(c->w, images, c->x + corner(c->w, first, 0, 0) * c->w->channels);
    uint32_t *across = malloc((size_t)(words_of(count) * stride_of(k)) * sizeof *across);
    float *copied = malloc((size_t)(count * c->outputs) * sizeof *copied);
    if (bits == NULL || across == NULL || copied == NULL)
        atomic_store(&c->refused, true);
    else {
        transpose_bits(count, k, bits, across);
        const float *dz = without_gaps(c, first, images, copied);
        look_up_sums(across, k, (struct operand){count, c->outputs, dz, c->outputs, 1},
                     c->out + task * k * c->outputs, c->outputs, 1);
    }
    free(bits), free(across), free(copied);
}

/* dW = windows of x, transposed, times dz; 0 if it did not compute. Each block of images has a sum of
 * its own, and then these are added, in the order of the blocks. */
int NAMED(convolve_dW)(ptrdiff_t outputs, const struct windows *given, const float *x,
                       const float *dz, float *dW)
{
    struct windows windows = *given, *w = &windows;
    struct operand X = {w->images * w->rows * w->columns, w->channels, x, w->channels, 1};
    if (!looks_like_signs(X))
        return 0;
    struct results used = without_zero_edge(w, outputs, dz);
    ptrdiff_t size = values_of(w) * outputs, most = DW_PARTS / size < 4 ? 4 : DW_PARTS / size;
    ptrdiff_t block = block_of(w, DW_TASK), least_block = (w->images + most - 1) / most;
    block = block < least_block ? least_block : block;
    struct convolution c = {w, outputs, block, x, NULL, used, NULL, NULL, false};
    ptrdiff_t tasks = tasks_of(&c);
    c.out = tasks == 1 ? dW : malloc((size_t)(tasks * size) * sizeof *dW);
    if (c.out == NULL)
        return 0;
    minibnn_run(tasks, convolve_dW_block, &c);
    if (c.out != dW) {
        sum_parts(tasks, size, c.out, dW);
        free(c.out);
    }
    return !c.refused;
}

/* ---- dx ----------------------------------------------------------------------------------------- */

/* Add the gradient of a window, k numbers, to its pixels. */
INLINE void add_window(const struct windows *w, const float *from, float *dx)
{
    ptrdiff_t together = w->dilation_x == 1 ? w->width : 1; /* neighbouring pixels */
    for (ptrdiff_t i = 0; i < w->height; i++)
        for (ptrdiff_t j = 0; j < w->width; j += together, from += together * w->channels)
            add(together * w->channels, from, dx + pixel(w, i, j) * w->channels);
}

static void convolve_dx_block(ptrdiff_t task, void *argument)
{
    struct convolution *c = argument;
    const struct windows windows = *c->w, *w = &windows;
    ptrdiff_t first = task * c->block, images = least(c->block, w->images - first);
    ptrdiff_t k = values_of(w), all = images * windows_of(w), p = 0, q = 0, n = first;
    ptrdiff_t size = w->rows * w->columns * w->channels;
    float *copied = malloc((size_t)(all * c->outputs) * sizeof *copied);
    float *part = malloc((size_t)(DX_WINDOWS * k) * sizeof *part);
    if (copied == NULL || part == NULL) {
        atomic_store(&c->refused, true);
        free(copied), free(part);
        return;
    }
    memset(c->out + first * size, 0, (size_t)(images * size) * sizeof *c->out);
    const float *dz = without_gaps(c, first, images, copied);
    for (ptrdiff_t start = 0; start < all; start += DX_WINDOWS) {
        ptrdiff_t count = least(DX_WINDOWS, all - start);
        struct operand D = {count, c->outputs, dz + start * c->outputs, c->outputs, 1};
        look_up_sums(c->kernel, k, transposed(D), part, 1, k);
        for (ptrdiff_t t = 0; t < count; t++) {
            add_window(w, part + t * k, c->out + corner(w, n, p, q) * w->channels);
            if (++q == w->across)
                q = 0, p++;
            if (p == w->down)
                p = 0, n++;
        }
    }
    free(copied), free(part);
}

/* dx = dz times W, transposed, each window added to its pixels; 0 if it did not compute. */
int NAMED(convolve_dx)(ptrdiff_t outputs, const struct windows *given, const float *dz,
                       const float *W, float *dx)
{
    struct windows windows = *given, *w = &windows;
    struct operand kernel = {values_of(w), outputs, W, outputs, 1};
    if (!looks_like_signs(kernel))
        return 0;
    uint32_t *bits = malloc((size_t)(words_of(outputs) * stride_of(kernel.rows)) * sizeof *bits);
    struct results used = without_zero_edge(w, outputs, dz);
    struct convolution c = {w, outputs, block_of(w, DX_TASK), NULL, W, used, bits, dx, false};
    bool signs = bits != NULL && pack(kernel, bits);
    if (signs)
        minibnn_run(tasks_of(&c), convolve_dx_block, &c);
    free(bits);
    return signs && !c.refused;
}
