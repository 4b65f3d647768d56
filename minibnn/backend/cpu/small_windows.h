/* Convolutions of any images with windows of few values, such as those of a network's first layer:
 * without an im2col matrix, which costs more than such a product. Included after windows.h.
 *
 * Products are added one after the other in the order of a window's values, or of the windows.
 */
enum {
    ABREAST = FLOATS == 16 ? 8 : 4,  /* windows whose results are in registers at the same time */
    OUTPUTS = 2 * FLOATS,            /* results of each of them */
    VALUES = 9,                      /* values of a window whose gradients are, at the same time */
    MOST_VALUES = 128,               /* of a window */
    MOST_SUMS = 1 << 24              /* numbers in the sums of all images */
};

struct small_windows {
    const struct windows *w;
    ptrdiff_t outputs, k;
    ptrdiff_t offsets[MOST_VALUES]; /* of the values of a window, from its first */
    const float *x, *W;             /* W with columns of zeros up to a multiple of OUTPUTS */
    ptrdiff_t W_apart;
    struct results dz;
    float *out;
};

static void find_offsets(struct small_windows *c)
{
    ptrdiff_t s = 0;
    for (ptrdiff_t i = 0; i < c->w->height; i++)
        for (ptrdiff_t j = 0; j < c->w->width; j++)
            for (ptrdiff_t l = 0; l < c->w->channels; l++)
                c->offsets[s++] = pixel(c->w, i, j) * c->w->channels + l;
}

/* The results of neighbouring windows, `apart` from each other, for `width` outputs from o. */
INLINE void convolve_some(int windows, const struct small_windows *c, const float *x,
                          ptrdiff_t apart, ptrdiff_t o, ptrdiff_t width, float *z)
{
    floats sum[ABREAST][2] = {0};
    const float *W = c->W + o;
    for (ptrdiff_t s = 0; s < c->k; s++, W += c->W_apart) {
        floats first = *(const floats_at *)W, second = *(const floats_at *)(W + FLOATS);
        for (int b = 0; b < windows; b++) {
            float value = x[b * apart + c->offsets[s]];
            sum[b][0] += first * value;
            sum[b][1] += second * value;
        }
    }
    float part[OUTPUTS];
    for (int b = 0; b < windows; b++) {
        float *row = z + b * c->outputs + o, *to = width == OUTPUTS ? row : part;
        *(floats_at *)to = sum[b][0];
        *(floats_at *)(to + FLOATS) = sum[b][1];
        if (to == part)
            memcpy(row, part, (size_t)width * sizeof *row);
    }
}

static void convolve_image(ptrdiff_t n, void *argument)
{
    const struct small_windows *c = argument;
    const struct windows w = *c->w;
    ptrdiff_t apart = w.stride_x * w.channels;
    for (ptrdiff_t p = 0; p < w.down; p++) {
        const float *x = c->x + corner(&w, n, p, 0) * w.channels;
        float *z = c->out + (n * w.down + p) * w.across * c->outputs;
        for (ptrdiff_t o = 0; o < c->outputs; o += OUTPUTS) {
            ptrdiff_t width = least(OUTPUTS, c->outputs - o), q = 0;
            for (; q + ABREAST <= w.across; q += ABREAST)
                convolve_some(ABREAST, c, x + q * apart, apart, o, width, z + q * c->outputs);
            for (; q < w.across; q++)
                convolve_some(1, c, x + q * apart, apart, o, width, z + q * c->outputs);
        }
    }
}

/* z = windows of x times W; 0 if it did not compute. */
int NAMED(convolve_small)(ptrdiff_t outputs, const struct windows *w, const float *x,
                          const float *W, float *z)
{
    struct small_windows c = {w, outputs, values_of(w), {0}, x, NULL, 0, {0}, z};
    c.W_apart = (outputs + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    float *padded = c.k > MOST_VALUES ? NULL : calloc((size_t)(c.k * c.W_apart), sizeof *padded);
    if (padded == NULL)
        return 0;
    for (ptrdiff_t s = 0; s < c.k; s++)
        memcpy(padded + s * c.W_apart, W + s * outputs, (size_t)outputs * sizeof *W);
    c.W = padded;
    find_offsets(&c);
    minibnn_run(w->images, convolve_image, &c);
    free(padded);
    return 1;
}

enum { COLUMNS = FLOATS == 16 ? 2 : 1 }; /* vectors of outputs whose gradients are in registers */

/* dW of an image, for `values` values from s and `width` outputs from o. */
INLINE void gradient_of_some(int values, const struct small_windows *c, const struct windows *w,
                             ptrdiff_t n, ptrdiff_t s, ptrdiff_t o, ptrdiff_t width, float *dW)
{
    floats sum[VALUES][COLUMNS] = {0};
    ptrdiff_t apart = w->stride_x * w->channels;
    float part[COLUMNS * FLOATS] = {0};
    for (ptrdiff_t p = 0; p < w->down; p++) {
        const float *x = c->x + corner(w, n, p, 0) * w->channels;
        const float *dz = c->dz.at + n * c->dz.images_apart + p * c->dz.rows_apart + o;
        for (ptrdiff_t q = 0; q < w->across; q++, x += apart, dz += c->outputs) {
            if (width < COLUMNS * FLOATS)
                memcpy(part, dz, (size_t)width * sizeof *dz);
            const float *from = width < COLUMNS * FLOATS ? part : dz;
            floats d[COLUMNS];
            for (int v = 0; v < COLUMNS; v++)
                d[v] = *(const floats_at *)(from + v * FLOATS);
            for (int a = 0; a < values; a++)
                for (int v = 0; v < COLUMNS; v++)
                    sum[a][v] += d[v] * x[c->offsets[s + a]];
        }
    }
    for (int a = 0; a < values; a++) {
        float *row = dW + (s + a) * c->outputs + o, *to = width < COLUMNS * FLOATS ? part : row;
        for (int v = 0; v < COLUMNS; v++)
            *(floats_at *)(to + v * FLOATS) = sum[a][v];
        if (to == part)
            memcpy(row, part, (size_t)width * sizeof *row);
    }
}

static void gradient_of_image(ptrdiff_t n, void *argument)
{
    const struct small_windows *c = argument;
    const struct windows windows = *c->w, *w = &windows;
    float *dW = c->out + n * c->k * c->outputs;
    for (ptrdiff_t o = 0; o < c->outputs; o += COLUMNS * FLOATS) {
        ptrdiff_t width = least(COLUMNS * FLOATS, c->outputs - o), s = 0;
        for (ptrdiff_t next; s < c->k && c->k >= VALUES; s = next) {
            next = s + VALUES; /* the last values may overlap with those before */
            gradient_of_some(VALUES, c, w, n, least(s, c->k - VALUES), o, width, dW);
        }
        for (; s < c->k; s++)
            gradient_of_some(1, c, w, n, s, o, width, dW);
    }
}

/* dW = windows of x, transposed, times dz, as the sum over the images; 0 if it did not compute. */
int NAMED(convolve_small_dW)(ptrdiff_t outputs, const struct windows *given, const float *x,
                             const float *dz, float *dW)
{
    struct windows windows = *given, *w = &windows;
    struct results used = without_zero_edge(w, outputs, dz);
    struct small_windows c = {w, outputs, values_of(w), {0}, x, NULL, 0, used, NULL};
    ptrdiff_t size = c.k * outputs;
    c.out = c.k > MOST_VALUES || w->images * size > MOST_SUMS ? NULL : malloc((size_t)(w->images * size) * sizeof *dW);
    if (c.out == NULL)
        return 0;
    find_offsets(&c);
    minibnn_run(w->images, gradient_of_image, &c);
    sum_parts(w->images, size, c.out, dW);
    free(c.out);
    return 1;
}
