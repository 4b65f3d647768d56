/* Matrix products whose one operand, or both, are signs (-1 and +1), computed on their bits.
 *
 * This file is included once for each instruction set, by products_*.c, which define
 *
 *     NAMED(f)  the name of a function f for this instruction set
 *     FLOATS    floats in a vector: 4, 8 or 16
 *
 * All code is written with vector types of the compiler (GCC and clang have them on every
 * processor); a few lines use an instruction that they cannot express. Sums have the same order on
 * every instruction set, so the results are equal to the last bit.
 *
 * An operand of signs is first packed, and checked to be signs as it is packed. S(r, s) is the sign
 * that row r of the result takes from summand s. 32 summands of a row are one word:
 *
 *     bit b of bits[q][r] = 1 where S(r, 32 q + b) = -1
 *
 * so neighbouring words belong to neighbouring rows, and a vector of words to a vector of rows.
 */
#include "threads.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * FLOATS)));
typedef uint32_t words __attribute__((vector_size(4 * FLOATS)));
typedef int32_t integers __attribute__((vector_size(4 * FLOATS)));
/* The same at any address that a float may have. */
typedef floats floats_at __attribute__((aligned(4), may_alias));
typedef words words_at __attribute__((aligned(4), may_alias));
typedef float four __attribute__((vector_size(16)));
typedef four four_at __attribute__((aligned(4), may_alias));

enum {
    WORD = 32,                /* summands in a word */
    GROUP = 4,                /* summands in an entry of a table */
    GROUPS = WORD / GROUP,    /* tables for a word */
    BLOCK = 4,                /* words whose tables are used together: 32 kB */
    SUMMANDS = BLOCK * WORD,  /* the summands of these words */
    LANES = 16,               /* floats in an entry of a table */
    PARTS = LANES / FLOATS,   /* vectors in an entry */
    TILE = 512,               /* rows of a tile of the result */
    LARGE = 1 << 17,          /* floats of a result that does not stay in the nearest caches */
    AHEAD = 64,               /* a kernel computes up to so many rows of words beyond the last */
    PACK_TASK = 1 << 16,      /* floats that a task packs, about: some microseconds */
    XNOR_TASK = 1 << 12,      /* vectors of words that a task compares, about */
    TABLE_TASK = 1 << 13      /* look-ups of a task, at least */
};

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

INLINE ptrdiff_t words_of(ptrdiff_t summands) { return (summands + WORD - 1) / WORD; }

/* Words from one q to the next. Not a power of two: lines at such a distance share a set of the
 * cache, and would push each other out. */
INLINE ptrdiff_t stride_of(ptrdiff_t rows)
{
    return (rows + AHEAD - 1) / AHEAD * AHEAD + 16;
}

/* ---- Packing ---------------------------------------------------------------------------------- */

/* The bits of a float that is not -1 or +1 differ from those of 1 in more than the sign. */
#define NOT_A_SIGN(v) (((v) & 0x7FFFFFFFu) ^ 0x3F800000u)

INLINE bool any(words v)
{
    uint32_t lanes[FLOATS], all = 0;
    memcpy(lanes, &v, sizeof lanes);
    for (int l = 0; l < FLOATS; l++)
        all |= lanes[l];
    return all != 0;
}

/* The word of the sign bits of 32 lanes. */
INLINE uint32_t sign_bits(const words *v)
{
#if FLOATS == 16
    return (uint32_t)_mm512_movepi32_mask((__m512i)v[0]) |
           (uint32_t)_mm512_movepi32_mask((__m512i)v[1]) << 16;
#elif FLOATS == 8
    uint32_t word = 0;
    for (int t = 0; t < 4; t++)
        word |= (uint32_t)_mm256_movemask_ps((__m256)v[t]) << 8 * t;
    return word;
#else
    /* Lane l of v number t has bit 4 t + l: first shift all lanes to 4 t, then each by its l. */
    words sum = {0};
    for (int t = 0; t < 8; t++)
        sum |= v[t] >> 31 << 4 * t;
    return sum[0] | sum[1] << 1 | sum[2] << 2 | sum[3] << 3;
#endif
}

/* The word of 32 neighbouring floats; bits of `wrong` are set if one of them is not a sign. */
INLINE uint32_t word_of(const float *p, words *wrong)
{
    words v[WORD / FLOATS];
    for (int t = 0; t < WORD / FLOATS; t++) {
        v[t] = *(const words_at *)(p + t * FLOATS);
        *wrong |= NOT_A_SIGN(v[t]);
    }
    return sign_bits(v);
}

/* Pack 16 rows, whose words fill a line of the cache, of S whose summands are neighbours:
 * S(r, s) = p[r stride + s]. */
static bool pack_along(ptrdiff_t rows, ptrdiff_t summands, const float *p, ptrdiff_t stride,
                       uint32_t *bits, ptrdiff_t step)
{
    ptrdiff_t whole = summands / WORD;
    rows = least(rows, 16);
    for (ptrdiff_t q = 0; q < whole; q++) {
        words wrong = {0};
        for (ptrdiff_t r = 0; r < rows; r++)
            bits[q * step + r] = word_of(p + r * stride + q * WORD, &wrong);
        if (any(wrong))
            return false;
    }
    if (whole * WORD == summands)
        return true;
    words wrong = {0};
    for (ptrdiff_t r = 0; r < rows; r++) {
        float tail[WORD];
        for (int b = 0; b < WORD; b++)
            tail[b] = whole * WORD + b < summands ? p[r * stride + whole * WORD + b] : 1.0f;
        bits[whole * step + r] = word_of(tail, &wrong);
    }
    return !any(wrong);
}

enum { WIDE = FLOATS == 16 ? 16 : FLOATS == 8 ? 8 : 4 }; /* vectors that fit the registers */

/* Words of `vectors` vectors of rows; summands are `stride` apart, `count` of them. */
INLINE bool pack_vectors(int vectors, ptrdiff_t count, const float *p, ptrdiff_t stride,
                         uint32_t *bits)
{
    words word[WIDE] = {0}, wrong = {0};
    for (ptrdiff_t b = count - 1; b >= 0; b--)
        for (int i = 0; i < vectors; i++) {
            words v = *(const words_at *)(p + b * stride + i * FLOATS);
            wrong |= NOT_A_SIGN(v);
            word[i] = word[i] << 1 | v >> 31;
        }
    for (int i = 0; i < vectors; i++)
        *(words_at *)(bits + i * FLOATS) = word[i];
    return !any(wrong);
}

/* Pack up to 32 summands of S whose rows are neighbours: S(r, s) = p[s stride + r]. A vector of words
 * grows by a bit with each summand. */
static bool pack_across(ptrdiff_t rows, ptrdiff_t summands, const float *p, ptrdiff_t stride,
                        uint32_t *bits)
{
    ptrdiff_t count = least(WORD, summands), r = 0;
    for (; r + WIDE * FLOATS <= rows; r += WIDE * FLOATS) /* long runs of memory */
        if (!pack_vectors(WIDE, count, p + r, stride, bits + r))
            return false;
    for (; r + 4 * FLOATS <= rows; r += 4 * FLOATS)
        if (!pack_vectors(4, count, p + r, stride, bits + r))
            return false;
    for (; r + FLOATS <= rows; r += FLOATS)
        if (!pack_vectors(1, count, p + r, stride, bits + r))
            return false;
    if (r == rows)
        return true;
    float tail[WORD][FLOATS];
    for (ptrdiff_t b = 0; b < count; b++)
        for (int l = 0; l < FLOATS; l++)
            tail[b][l] = r + l < rows ? p[b * stride + r + l] : 1.0f;
    return pack_vectors(1, count, tail[0], FLOATS, bits + r);
}

/* A matrix that need not be stored row by row: element (i, j) is at[i rows_apart + j columns_apart],
 * and one of the two distances is 1. */
struct operand {
    ptrdiff_t rows, columns;
    const float *at;
    ptrdiff_t rows_apart, columns_apart;
};

INLINE struct operand transposed(struct operand a)
{
    return (struct operand){a.columns, a.rows, a.at, a.columns_apart, a.rows_apart};
}

/* Whether some values, spread over the whole matrix, are signs. A real matrix is told apart at once
 * this way, even if it begins with signs, such as the black border of an image. */
static bool looks_like_signs(struct operand a)
{
    uint32_t wrong = 0;
    for (ptrdiff_t t = 0; t < 16; t++) {
        ptrdiff_t i = (2 * t + 1) * a.rows / 32, j = (2 * (7 * t % 16) + 1) * a.columns / 32;
        uint32_t value;
        memcpy(&value, a.at + i * a.rows_apart + j * a.columns_apart, sizeof value);
        wrong |= NOT_A_SIGN(value);
    }
    return wrong == 0;
}

/* Packing the signs S of a matrix (rows, summands). */
struct packing {
    struct operand S;
    uint32_t *bits;
    ptrdiff_t blocks;  /* in a task: of 16 rows, or of 32 summands */
    atomic_bool wrong; /* a value is not a sign */
};

static void pack_blocks(ptrdiff_t task, void *argument)
{
    struct packing *p = argument;
    struct operand S = p->S;
    bool along = S.columns_apart == 1;
    ptrdiff_t step = stride_of(S.rows), size = along ? 16 : WORD;
    ptrdiff_t last = least((task + 1) * p->blocks * size, along ? S.rows : S.columns);
    for (ptrdiff_t i = task * p->blocks * size; i < last && !p->wrong; i += size)
        if (!(along ? pack_along(S.rows - i, S.columns, S.at + i * S.rows_apart, S.rows_apart,
                                 p->bits + i, step)
                    : pack_across(S.rows, S.columns - i, S.at + i * S.columns_apart,
                                  S.columns_apart, p->bits + i / WORD * step)))
            p->wrong = true;
}

/* Pack S; false if not all values are signs. The words beyond the last row stay as they are: what a
 * kernel computes from them is not stored. */
static bool pack(struct operand S, uint32_t *bits)
{
    bool along = S.columns_apart == 1;
    ptrdiff_t blocks = along ? (S.rows + 15) / 16 : words_of(S.columns);
    ptrdiff_t each = 1 + PACK_TASK * blocks / (S.rows * S.columns);
    struct packing p = {S, bits, each, false};
    minibnn_run((blocks + each - 1) / each, pack_blocks, &p);
    return !p.wrong;
}

/* ---- Both operands are signs ------------------------------------------------------------------- */

/* How many bits are set in each lane, or in each byte of it: then the sum of STEP counts still fits
 * a byte, and `widened` adds the four bytes of a lane. */
#if defined(COUNT_LANES)
enum { STEP = 1 << 20 };
INLINE words counts(words v) { return (words)_mm512_popcnt_epi32((__m512i)v); }
INLINE words widened(words v) { return v; }
#else
enum { STEP = 31 };
INLINE words counts(words v)
{
#if FLOATS == 16
    __m512i low = _mm512_set1_epi8(15), bits = (__m512i)v;
    __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    __m512i a = _mm512_shuffle_epi8(table, _mm512_and_si512(bits, low));
    __m512i b = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(bits, 4), low));
    return (words)_mm512_add_epi8(a, b);
#elif FLOATS == 8
    __m256i low = _mm256_set1_epi8(15), bits = (__m256i)v;
    __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, low));
    __m256i b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32(bits, 4), low));
    return (words)_mm256_add_epi8(a, b);
#elif defined(__ARM_NEON)
    return (words)vcntq_u8((uint8x16_t)v);
#else
    v -= v >> 1 & 0x55555555u;
    v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
    return (v + (v >> 4)) & 0x0F0F0F0Fu;
#endif
}
INLINE words widened(words v)
{
    v = (v & 0x00FF00FFu) + (v >> 8 & 0x00FF00FFu);
    return (v & 0xFFFFu) + (v >> 16);
}
#endif

enum { ROWS = 4, VECTORS = FLOATS == 16 ? 4 : 2, WIDTH = VECTORS * FLOATS };

struct comparison {
    ptrdiff_t n, k, m;
    const uint32_t *x, *w;
    float *z;
    ptrdiff_t height; /* rows in a task */
};

/* z(i, j) = k - 2 (number of summands in which row i of x and column j of W differ)
 *
 * 32 products are one exclusive or and one count. ROWS times VECTORS sums stay in registers, so a
 * word of either operand is loaded once for several of them. Whole numbers: exact. A task computes
 * WIDTH columns of some rows. */
static void compare(ptrdiff_t task, void *argument)
{
    struct comparison c = *(struct comparison *)argument;
    ptrdiff_t k = c.k, m = c.m, x_step = stride_of(c.n), w_step = stride_of(m), depth = words_of(k);
    ptrdiff_t across = (m + WIDTH - 1) / WIDTH, j = task % across * WIDTH;
    ptrdiff_t top = task / across * c.height, bottom = least(top + c.height, c.n);
    for (ptrdiff_t i = top; i < bottom; i += ROWS) {
        words sum[ROWS][VECTORS] = {0};
        for (ptrdiff_t start = 0; start < depth; start += STEP) {
            ptrdiff_t end = least(start + STEP, depth);
            words part[ROWS][VECTORS] = {0};
            for (ptrdiff_t q = start; q < end; q++) {
                words column[VECTORS];
                for (int v = 0; v < VECTORS; v++)
                    column[v] = *(const words_at *)(c.w + q * w_step + j + v * FLOATS);
                for (int a = 0; a < ROWS; a++)
                    for (int v = 0; v < VECTORS; v++)
                        part[a][v] += counts(column[v] ^ c.x[q * x_step + i + a]);
            }
            for (int a = 0; a < ROWS; a++)
                for (int v = 0; v < VECTORS; v++)
                    sum[a][v] += widened(part[a][v]);
        }
        for (int a = 0; a < ROWS && i + a < bottom; a++) {
            float *row = c.z + (i + a) * m + j;
            float result[WIDTH] __attribute__((aligned(64)));
            float *to = j + WIDTH <= m ? row : result;
            for (int v = 0; v < VECTORS; v++) {
                integers z_v = (int32_t)k - 2 * (integers)sum[a][v];
                *(floats_at *)(to + v * FLOATS) = __builtin_convertvector(z_v, floats);
            }
            if (to == result)
                memcpy(row, result, (size_t)(m - j) * sizeof *row);
        }
    }
}

static void xnor(ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, const uint32_t *x, const uint32_t *w, float *z)
{
    ptrdiff_t each = XNOR_TASK / (words_of(k) * VECTORS) / ROWS * ROWS;
    struct comparison c = {n, k, m, x, w, z, least(each < ROWS ? ROWS : each, n)};
    minibnn_run((m + WIDTH - 1) / WIDTH * ((n + c.height - 1) / c.height), compare, &c);
}

/* ---- One operand is signs, the other floats ----------------------------------------------------- */

/* The transpose of 4 rows of 4 floats, `apart` from each other. */
INLINE void transpose(const float *p, ptrdiff_t apart, float *to, ptrdiff_t to_apart)
{
    four a = *(const four_at *)p, b = *(const four_at *)(p + apart);
    four c = *(const four_at *)(p + 2 * apart), d = *(const four_at *)(p + 3 * apart);
#if defined(__clang__)
#define SHUFFLE(x, y, i, j, k, l) __builtin_shufflevector(x, y, i, j, k, l)
#else
#define SHUFFLE(x, y, i, j, k, l) __builtin_shuffle(x, y, (integers4){i, j, k, l})
    typedef int32_t integers4 __attribute__((vector_size(16)));
#endif
    four ab = SHUFFLE(a, b, 0, 4, 1, 5), cd = SHUFFLE(c, d, 0, 4, 1, 5);
    *(four_at *)to = SHUFFLE(ab, cd, 0, 1, 4, 5);
    *(four_at *)(to + to_apart) = SHUFFLE(ab, cd, 2, 3, 6, 7);
    ab = SHUFFLE(a, b, 2, 6, 3, 7), cd = SHUFFLE(c, d, 2, 6, 3, 7);
    *(four_at *)(to + 2 * to_apart) = SHUFFLE(ab, cd, 0, 1, 4, 5);
    *(four_at *)(to + 3 * to_apart) = SHUFFLE(ab, cd, 2, 3, 6, 7);
#undef SHUFFLE
}

/* Copy a matrix (rows, columns), stored by rows or by columns, to another. */
static void copy(struct operand from, float *to, ptrdiff_t to_rows_apart, ptrdiff_t to_columns_apart)
{
    if (from.columns_apart != 1)
        return copy(transposed(from), to, to_columns_apart, to_rows_apart);
    ptrdiff_t rows = from.rows, columns = from.columns, i = 0;
    if (to_columns_apart == 1) {
        for (; i < rows; i++)
            memcpy(to + i * to_rows_apart, from.at + i * from.rows_apart,
                   (size_t)columns * sizeof *to);
        return;
    }
    for (; i + 4 <= rows; i += 4) {
        ptrdiff_t j = 0;
        for (; j + 4 <= columns; j += 4)
            transpose(from.at + i * from.rows_apart + j, from.rows_apart,
                      to + j * to_columns_apart + i, to_columns_apart);
        for (; j < columns; j++)
            for (int l = 0; l < 4; l++)
                to[j * to_columns_apart + i + l] = from.at[(i + l) * from.rows_apart + j];
    }
    for (; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            to[i + j * to_columns_apart] = from.at[i * from.rows_apart + j];
}

/* An entry of a table: LANES sums, for LANES columns of the floats. */
typedef struct {
    floats part[PARTS];
} entry;

/* The 16 sums of four summands, for the 16 signs that they can have: bit b of e is set where d_b is
 * subtracted.
 *
 *     table[e] = (+-d0 +-d1) + (+-d2 +-d3)
 */
INLINE void make_table(const float *d, ptrdiff_t apart, entry *table)
{
    for (int p = 0; p < PARTS; p++, d += FLOATS) {
        floats d0 = *(const floats_at *)d, d1 = *(const floats_at *)(d + apart);
        floats d2 = *(const floats_at *)(d + 2 * apart), d3 = *(const floats_at *)(d + 3 * apart);
        floats first[4] = {d0 + d1, d1 - d0, d0 - d1, -d0 - d1};
        floats second[4] = {d2 + d3, d3 - d2, d2 - d3, -d2 - d3};
        for (int e = 0; e < 16; e++)
            table[e].part[p] = first[e & 3] + second[e >> 2];
    }
}

/* An empty instruction that needs all parts of a sum. Without it compilers first compute the first
 * parts of all sums, and run out of registers for the addresses of the others. */
#if FLOATS == 8 && defined(__x86_64__)
#define KEEP_ORDER(s) __asm__("" : "+x"((s)->part[0]), "+x"((s)->part[1]))
#elif FLOATS == 4 && defined(__x86_64__)
#define KEEP_ORDER(s)                                                                             \
    __asm__("" : "+x"((s)->part[0]), "+x"((s)->part[1]), "+x"((s)->part[2]), "+x"((s)->part[3]))
#elif FLOATS == 4 && defined(__aarch64__)
#define KEEP_ORDER(s)                                                                             \
    __asm__("" : "+w"((s)->part[0]), "+w"((s)->part[1]), "+w"((s)->part[2]), "+w"((s)->part[3]))
#else
#define KEEP_ORDER(s) (void)(s)
#endif

/* Add entry number (word >> 4 g) & 15 of table g to `sum`. Its offset in bytes takes two
 * instructions: rotate and mask. */
INLINE void look_up(entry *sum, uint32_t word, int g, const entry (*tables)[16])
{
    int left = (WORD + 6 - GROUP * g) % WORD;
    uint32_t offset = (word << left | word >> (WORD - left) % WORD) & 15 * sizeof(entry);
    const entry *e = (const entry *)((const char *)tables + offset) + 16 * g;
    for (int p = 0; p < PARTS; p++)
        sum->part[p] += e->part[p];
    KEEP_ORDER(sum);
}
_Static_assert(sizeof(entry) == 1 << 6, "the offset is 64 times the number");

enum { TOGETHER = FLOATS == 4 ? 2 : 4 }; /* rows whose sums are in registers at the same time */

/* For some rows: result(r, lanes) (+)= sum over the groups g of a block of tables[g][nibble g of r].
 * The sums of a block start at 0, and are then added to those of the blocks before. */
INLINE void look_up_rows(int rows, ptrdiff_t groups, const uint32_t *bits, ptrdiff_t step,
                         const entry (*tables)[16], float *result, ptrdiff_t apart, bool add)
{
    entry sum[TOGETHER] = {0};
    ptrdiff_t whole = groups / GROUPS;
    for (ptrdiff_t q = 0; q < whole; q++) {
        const entry(*here)[16] = tables + q * GROUPS;
        __asm__("" : "+r"(here)); /* an address in one register, for all tables of the word */
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < rows; i++)
                look_up(&sum[i], bits[q * step + i], g, here);
    }
    for (ptrdiff_t g = whole * GROUPS; g < groups; g++)
        for (int i = 0; i < rows; i++)
            look_up(&sum[i], bits[whole * step + i] >> GROUP * (g - whole * GROUPS), 0, tables + g);
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < PARTS; p++) {
            floats_at *to = (floats_at *)(result + i * apart + p * FLOATS);
            if (add)
                sum[i].part[p] += *to;
            *to = sum[i].part[p];
        }
}

struct look_up_job {
    const uint32_t *bits;
    struct operand D;
    ptrdiff_t rows;
    float *out;
    ptrdiff_t rows_apart, columns_apart;
    ptrdiff_t first;  /* columns in the first panel */
    ptrdiff_t panels; /* in a task */
};

/* out(r, c) = sum over s of S(r, s) D(s, c), for the rows from `top` and the columns from `left`. */
static void look_up_panel(const struct look_up_job *job, ptrdiff_t top, ptrdiff_t left,
                          ptrdiff_t width)
{
    _Alignas(64) entry tables[BLOCK * GROUPS][16];
    _Alignas(64) float panel[SUMMANDS * LANES], tile[TILE * LANES];
    struct operand D = job->D;
    ptrdiff_t step = stride_of(job->rows), height = least(TILE, job->rows - top);
    float *out = job->out + top * job->rows_apart + left * job->columns_apart;
    bool direct = job->columns_apart == 1 && width == LANES;
    float *result = direct ? out : tile;
    ptrdiff_t apart = direct ? job->rows_apart : LANES;
    for (ptrdiff_t s = 0; s < D.rows; s += SUMMANDS) {
        ptrdiff_t depth = least(SUMMANDS, D.rows - s), groups = (depth + GROUP - 1) / GROUP, r = 0;
        struct operand part = {depth, width, D.at + s * D.rows_apart + left * D.columns_apart,
                               D.rows_apart, D.columns_apart};
        bool in_place = D.columns_apart == 1 && width == LANES && depth % GROUP == 0;
        const float *d = in_place ? part.at : panel;
        ptrdiff_t d_apart = in_place ? D.rows_apart : LANES;
        if (!in_place) {
            if (depth % GROUP || width < LANES)
                memset(panel, 0, sizeof panel);
            copy(part, panel, LANES, 1);
        }
        for (ptrdiff_t g = 0; g < groups; g++)
            make_table(d + g * GROUP * d_apart, d_apart, tables[g]);
        const uint32_t *b = job->bits + s / WORD * step + top;
        for (; r + TOGETHER <= height; r += TOGETHER)
            look_up_rows(TOGETHER, groups, b + r, step, tables, result + r * apart, apart, s > 0);
        for (; r < height; r++)
            look_up_rows(1, groups, b + r, step, tables, result + r * apart, apart, s > 0);
    }
    if (!direct)
        copy((struct operand){height, width, tile, LANES, 1}, out, job->rows_apart,
             job->columns_apart);
}

/* Panel p has the columns from here on. */
INLINE ptrdiff_t left_of(const struct look_up_job *job, ptrdiff_t p)
{
    return p == 0 ? 0 : least(job->first + (p - 1) * LANES, job->D.columns);
}

static void look_up_panels(ptrdiff_t task, void *argument)
{
    const struct look_up_job *job = argument;
    ptrdiff_t all = 1 + (job->D.columns - job->first + LANES - 1) / LANES;
    ptrdiff_t tasks = (all + job->panels - 1) / job->panels;
    ptrdiff_t p = task % tasks * job->panels, end = least(p + job->panels, all);
    for (; p < end; p++) {
        ptrdiff_t left = left_of(job, p);
        look_up_panel(job, task / tasks * TILE, left, left_of(job, p + 1) - left);
    }
}

/* out(r, c) = sum over s of S(r, s) D(s, c)
 *
 * "The method of the four Russians": four summands of a column of D have only 16 sums, which every
 * row of S uses. So a table of these sums replaces four products by one look-up and one addition.
 * An entry has the sums of LANES columns, a panel of D. The tables of a block of SUMMANDS summands
 * stay in the first-level cache while TILE rows use them; the bits of a row are read as words.
 *
 * D and out may be stored by rows or by columns (columns_apart or rows_apart is 1). The rows of the
 * result are taken in tiles: columns of a wide matrix lie on as many pages as it has rows. A large
 * result is written in whole lines of the cache, so its first columns may be fewer. */
static void look_up_sums(const uint32_t *bits, ptrdiff_t rows, struct operand D, float *out,
                         ptrdiff_t rows_apart, ptrdiff_t columns_apart)
{
    struct look_up_job job = {bits, D, rows, out, rows_apart, columns_apart, LANES, 1};
    if (columns_apart == 1 && rows * D.columns > LARGE && (uintptr_t)out % 64)
        job.first -= (ptrdiff_t)((uintptr_t)out % 64 / sizeof *out);
    job.first = least(job.first, D.columns);
    job.panels += TABLE_TASK / (least(rows, TILE) * ((D.rows + GROUP - 1) / GROUP));
    ptrdiff_t all = 1 + (D.columns - job.first + LANES - 1) / LANES;
    minibnn_run((rows + TILE - 1) / TILE * ((all + job.panels - 1) / job.panels), look_up_panels,
                &job);
}

/* ---- The product -------------------------------------------------------------------------------- */

/* Set the distances of an operand from its strides in bytes; false unless its rows or its columns
 * are stored one after the other, perhaps with gaps. */
static bool lay_out(struct operand *a, ptrdiff_t down, ptrdiff_t right)
{
    enum { SIZE = sizeof *a->at };
    a->rows_apart = down / SIZE;
    a->columns_apart = right / SIZE;
    return (a->columns_apart == 1 && a->rows_apart >= a->columns) ||
           (a->rows_apart == 1 && a->columns_apart >= a->rows);
}

/* z = a b, for a (n, k) and b (k, m) with strides in bytes, if an operand is signs; z is stored by
 * rows. Returns which operands were: 1 for a, 2 for b, 3 for both; 0 if it did not compute. `kinds`
 * allows 1, 2 and 3 by its bits 1, 2 and 3. */
int NAMED(product)(ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, ptrdiff_t a_down, ptrdiff_t a_right,
            ptrdiff_t b_down, ptrdiff_t b_right, ptrdiff_t kinds, const float *a_at,
            const float *b_at, float *z)
{
    struct operand a = {n, k, a_at, 0, 0}, b = {k, m, b_at, 0, 0};
    if (!lay_out(&a, a_down, a_right) || !lay_out(&b, b_down, b_right))
        return 0;
    bool left = looks_like_signs(a), right = looks_like_signs(b), both = kinds & 8;
    if (!(left && right && both)) { /* pack only what a table is allowed for */
        left = left && kinds & 2;
        right = right && kinds & 4 && !left;
    }
    if (!left && !right)
        return 0;
    size_t a_words = left ? (size_t)(words_of(k) * stride_of(n)) : 0;
    size_t b_words = right ? (size_t)(words_of(k) * stride_of(m)) : 0;
    uint32_t *a_bits = malloc((a_words + b_words) * sizeof *a_bits), *b_bits = a_bits + a_words;
    if (a_bits == NULL)
        return 0;
    left = left && pack(a, a_bits);
    right = right && pack(transposed(b), b_bits);
    int kind = left + 2 * right;
    if (!(kinds >> kind & 1))
        kind = 0;
    if (kind == 3)
        xnor(n, k, m, a_bits, b_bits, z);
    else if (kind == 1)
        look_up_sums(a_bits, n, b, z, m, 1);
    else if (kind == 2)
        look_up_sums(b_bits, m, transposed(a), z, 1, m);
    free(a_bits);
    return kind;
}
