/* The parts of the headers that `export_c` writes. A part begins with a line of its name, as below;
   `name_` and `NAME_` become the network's name. This file is not included anywhere. */

//: words
#ifndef NAME_WORD_BITS
#if UINTPTR_MAX > 0xFFFFFFFF
#define NAME_WORD_BITS 64
#else
#define NAME_WORD_BITS 32
#endif
#endif

#if NAME_WORD_BITS == 64
typedef uint64_t name_word;
#define NAME_2(low, high) (((uint64_t)(high) << 32) | (low))
#elif NAME_WORD_BITS == 32
typedef uint32_t name_word;
#define NAME_2(low, high) (low), (high)
#else
#error "NAME_WORD_BITS: expected 32 or 64"
#endif
#define NAME_1(low) (low)
#ifdef NAME_STATIC
#define NAME_STORAGE static
#else
#define NAME_STORAGE
#endif
#define NAME_WORDS(bits) (((bits) + NAME_WORD_BITS - 1) / NAME_WORD_BITS)

//: flash
/* Where constants are. NAME_PROGMEM is 1 for machines such as AVR, which read flash by instructions
   of their own: then all arrays of constants stay in flash. */
#ifndef NAME_PROGMEM
#ifdef __AVR__
#define NAME_PROGMEM 1
#else
#define NAME_PROGMEM 0
#endif
#endif

#if NAME_PROGMEM
#include <avr/pgmspace.h>
#define NAME_FLASH PROGMEM
static inline uint64_t name_read_64(const void *p)
{
    const uint8_t *const bytes = (const uint8_t *)p;
    return ((uint64_t)pgm_read_dword(bytes + 4) << 32) | pgm_read_dword(bytes);
}
/* The constant at p; and a struct at v, as a copy to which v then points. */
#define NAME_READ(type, p)                                                                        \
    ((type)(sizeof(type) == 8 ? name_read_64(p) : sizeof(type) == 4 ? pgm_read_dword(p)           \
            : sizeof(type) == 2 ? pgm_read_word(p) : pgm_read_byte(p)))
#define NAME_LOAD(type, v)                                                                        \
    type loaded;                                                                                  \
    memcpy_P(&loaded, v, sizeof loaded);                                                          \
    v = &loaded;
#else
#define NAME_FLASH
#define NAME_READ(type, p) (*(p))
#define NAME_LOAD(type, v)
#endif

//: memory
/* Whether the memory can suffice; define NAME_NO_MEMORY_CHECK if it does, for another reason. The
   functions that read flash reach its first 64 KiB, where avr-gcc puts such constants first. */
#if defined(__AVR__) && !defined(NAME_NO_MEMORY_CHECK)
#include <avr/io.h>
#ifdef NAME_SELFTEST
#define NAME_FLASH_BYTES (NAME_CONSTANT_BYTES + NAME_VECTOR_BYTES)
#else
#define NAME_FLASH_BYTES NAME_CONSTANT_BYTES
#endif
#if NAME_PROGMEM && defined(FLASHEND) && NAME_FLASH_BYTES > FLASHEND
#error "NAME_FLASH_BYTES: this device has less flash; use a larger one, or a smaller network"
#elif NAME_PROGMEM && NAME_FLASH_BYTES > 65024
#error "NAME_FLASH_BYTES: expected less than 64 KiB of constants on AVR; use a smaller network"
#elif NAME_PROGMEM && NAME_LARGEST_CONSTANT > 32767
#error "NAME_LARGEST_CONSTANT: expected less than 32 KiB on AVR; use a smaller network"
#elif defined(RAMEND) && defined(RAMSTART) && NAME_SCRATCH_BYTES > RAMEND - RAMSTART
#error "NAME_SCRATCH_BYTES: this device has less RAM; use a larger one, or a smaller network"
#endif
#endif

//: simd
/* How pixels are summed: 0 with a table, 1 with SSE2, which every 64-bit x86 has, 2 with AVX-512. */
#ifndef NAME_SIMD
#if NAME_WORD_BITS == 32 || NAME_PROGMEM
#define NAME_SIMD 0
#elif defined(__AVX512BW__)
#define NAME_SIMD 2
#elif defined(__SSE2__)
#define NAME_SIMD 1
#else
#define NAME_SIMD 0
#endif
#endif
#if NAME_SIMD != 0 && NAME_WORD_BITS != 64 || NAME_SIMD < 0 || NAME_SIMD > 2
#error "NAME_SIMD: expected 0, or with words of 64 bits 1 or 2"
#elif NAME_SIMD == 1
#include <emmintrin.h>
#elif NAME_SIMD == 2
#include <immintrin.h>
#endif

//: popcount
/* How bits are counted: 1 the compiler's builtin, 2 arithmetic, 3 a table of 16 bytes. */
#ifndef NAME_POPCOUNT
#if defined(__POPCNT__) || defined(__aarch64__) || defined(__riscv_zbb)
#define NAME_POPCOUNT 1
#else
#define NAME_POPCOUNT 2
#endif
#endif

#if NAME_POPCOUNT < 1 || NAME_POPCOUNT > 3
#error "NAME_POPCOUNT: expected 1, 2 or 3"
#endif
static inline uint32_t name_popcount(name_word x)
{
#if NAME_POPCOUNT == 1 && NAME_WORD_BITS == 64
    return (uint32_t)__builtin_popcountll(x);
#elif NAME_POPCOUNT == 1
    return (uint32_t)__builtin_popcountl(x);
#elif NAME_POPCOUNT == 2
    const name_word ones = (name_word)-1;
    x -= (x >> 1) & (ones / 3);
    x = (x & (ones / 5)) + ((x >> 2) & (ones / 5));
    x = (x + (x >> 4)) & (ones / 17);
    return (uint32_t)((x * (ones / 255)) >> (NAME_WORD_BITS - 8));
#else
    static const uint8_t counts[16] NAME_FLASH = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    uint32_t n = 0;
    for (; x != 0; x >>= 4)
        n += NAME_READ(uint8_t, &counts[x & 15]);
    return n;
#endif
}

/* The number of bits in which a row differs from a row of weights. */
static inline uint32_t name_distance(const name_word *x, const name_word *w, uint32_t words)
{
    uint32_t k, n = 0;
    for (k = 0; k < words; k++)
        n += name_popcount(x[k] ^ NAME_READ(name_word, &w[k]));
    return n;
}

//: put
/* ORs n <= NAME_WORD_BITS bits into a row, from bit `at` on. */
static inline void name_put(name_word *row, uint32_t at, name_word bits, uint32_t n)
{
    const uint32_t k = at / NAME_WORD_BITS, s = at % NAME_WORD_BITS;
    row[k] |= bits << s;
    if (s + n > NAME_WORD_BITS)
        row[k + 1] |= bits >> (NAME_WORD_BITS - s);
}

static inline void name_clear(name_word *row, uint32_t words)
{
    uint32_t k;
    for (k = 0; k < words; k++)
        row[k] = 0;
}

//: binarize
/* Bit i is 1 where a pixel is at least the threshold; where it is less, if `falling`. */
static inline void name_binarize(name_word *y, const uint8_t *x, uint32_t n, uint32_t threshold,
                                 uint32_t falling)
{
    uint32_t i;
    for (i = 0; i < n; i++)
        name_put(y, i, (name_word)((x[i] >= threshold) != falling), 1);
}

//: order
/* The place of a number in the order of all floats, as an integer: the order of their bits, turned
   round below 0. -0 has the place of 0, and nan comes before everything. */
static inline int32_t name_order(float x)
{
    uint32_t bits, size;
    memcpy(&bits, &x, sizeof bits);
    size = bits & UINT32_C(0x7FFFFFFF);
    if (size > UINT32_C(0x7F800000))
        return INT32_MIN;
    return bits == size || !size ? (int32_t)size : -(int32_t)size - 1;
}

//: code
/* Bit j is 1 where low[j] <= x[feature[j]] <= high[j]; so for each of `positions` rows of features.
   Without `high` there is no upper end. */
static inline void name_code(name_word *y, const name_input *x, const name_feature *feature,
                             const name_number *low, const name_number *high, uint32_t n,
                             uint32_t features, uint32_t positions)
{
    uint32_t p, j;
    for (p = 0; p < positions; p++, x += features)
        for (j = 0; j < n; j++) {
            const name_number v = NAME_NUMBER(x[NAME_READ(name_feature, &feature[j])]);
            const int inside = v >= NAME_READ(name_number, &low[j]) &&
                               (!high || v <= NAME_READ(name_number, &high[j]));
            name_put(y, p * n + j, (name_word)inside, 1);
        }
}

//: bits
/* Bit c is 1 where row c of the weights differs from x in fewer than limits[c] bits: then the
   sum of products, width - 2 differences, has reached its threshold. */
static inline void name_bits(name_word *y, uint32_t at, const name_word *x, const name_word *w,
                             const name_limit *limits, uint32_t width, uint32_t channels)
{
    const uint32_t words = NAME_WORDS(width);
    uint32_t c, start, n;
    for (start = 0; start < channels; start += n) {
        name_word bits = 0;
        n = channels - start < NAME_WORD_BITS ? channels - start : NAME_WORD_BITS;
        for (c = 0; c < n; c++, w += words)
            bits |= (name_word)(name_distance(x, w, words) <
                                NAME_READ(name_limit, &limits[start + c]))
                    << c;
        name_put(y, at + start, bits, n);
    }
}

//: products
/* The sums of products, for the scores. */
static inline void name_products(int32_t *sums, const name_word *x, const name_word *w,
                                 uint32_t width, uint32_t channels)
{
    const uint32_t words = NAME_WORDS(width);
    uint32_t c;
    for (c = 0; c < channels; c++, w += words)
        sums[c] = (int32_t)width - 2 * (int32_t)name_distance(x, w, words);
}

//: sums
/* What 4 pixels add to a sum, for each 4 bits of weights; pixels that are not there add nothing. */
static inline void name_table(int16_t *table, const uint8_t *x, uint32_t n)
{
    uint32_t i, k;
    table[0] = 0;
    for (k = 0; k < 4; k++) {
        const int16_t pixel = (int16_t)(k < n ? x[k] : 0);
        for (i = 0; i < (1u << k); i++) {
            table[(1u << k) + i] = (int16_t)(table[i] + pixel);
            table[i] = (int16_t)(table[i] - pixel);
        }
    }
}

/* The sum of 32 pixels: 8 tables, each for 4 bits of weights. */
static inline int32_t name_look_up(const int16_t *t, uint32_t w)
{
    return t[w & 15] + t[16 + ((w >> 4) & 15)] + t[32 + ((w >> 8) & 15)] +
           t[48 + ((w >> 12) & 15)] + t[64 + ((w >> 16) & 15)] + t[80 + ((w >> 20) & 15)] +
           t[96 + ((w >> 24) & 15)] + t[112 + (w >> 28)];
}

/* For each channel, the sum of the pixels with a weight of +1 minus that of the others. */
static inline void name_sums_by_table(int32_t *sums, const uint8_t *x, const name_word *w,
                                      uint32_t width, uint32_t channels)
{
    int16_t table[4 * NAME_WORD_BITS];
    const uint32_t words = NAME_WORDS(width);
    uint32_t c, g, k;
    for (c = 0; c < channels; c++)
        sums[c] = 0;
    for (k = 0; k < words; k++) {
        const uint32_t at = k * NAME_WORD_BITS, left = width - at;
        const uint32_t groups = left < NAME_WORD_BITS ? (left + 3) / 4 : NAME_WORD_BITS / 4;
        for (g = 0; g < groups; g++)
            name_table(table + 16 * g, x + at + 4 * g, left - 4 * g);
        for (c = 0; c < channels; c++) {
            name_word bits = NAME_READ(name_word, &w[c * words + k]);
            int32_t sum = sums[c];
            for (g = 0; g + 8 <= groups; g += 8) {
                sum += name_look_up(table + 16 * g, (uint32_t)bits);
                bits = bits >> 16 >> 16;
            }
            for (; g < groups; g++, bits >>= 4)
                sum += table[16 * g + (uint32_t)(bits & 15)];
            sums[c] = sum;
        }
    }
}

#if NAME_SIMD == 1
/* The same, 16 pixels at once: pixel 8 i + j of 128 goes to position 16 j + i, so that the pixels of
   bit j in 16 bytes of weights are neighbours. */
static inline void name_sums_by_simd(int32_t *sums, const uint8_t *x, const name_word *w,
                                     uint32_t width, uint32_t channels)
{
    __m128i sorted[8 * ((NAME_MOST_PIXELS + 127) / 128)];
    const __m128i zero = _mm_setzero_si128();
    const uint32_t words = NAME_WORDS(width);
    uint8_t *const bytes = (uint8_t *)sorted;
    uint32_t c, i, k;
    int32_t all = 0;
    for (i = 0; i < 8 * ((width + 127) / 128); i++)
        sorted[i] = zero;
    for (i = 0; i < width; i++) {
        bytes[i / 128 * 128 + i % 8 * 16 + i % 128 / 8] = x[i];
        all += x[i];
    }
    for (c = 0; c < channels; c++, w += words) {
        __m128i even = zero, odd = zero; /* two, since each addition waits for the last one */
        for (k = 0; k < words; k += 2) {
            const __m128i *const p = sorted + 4 * k;
            const void *const here = w + k; /* two words, or the last one */
            const __m128i v = k + 1 < words ? _mm_loadu_si128((const __m128i *)here)
                                            : _mm_loadl_epi64((const __m128i *)here);
#define NAME_ADD(sum, j)                                                                          \
    do {                                                                                          \
        const __m128i bit = _mm_set1_epi8((char)(1 << (j)));                                      \
        const __m128i mask = _mm_cmpeq_epi8(_mm_and_si128(v, bit), bit);                          \
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_and_si128(mask, p[j]), zero));                  \
    } while (0)
            NAME_ADD(even, 0);
            NAME_ADD(odd, 1);
            NAME_ADD(even, 2);
            NAME_ADD(odd, 3);
            NAME_ADD(even, 4);
            NAME_ADD(odd, 5);
            NAME_ADD(even, 6);
            NAME_ADD(odd, 7);
#undef NAME_ADD
        }
        even = _mm_add_epi32(even, odd);
        even = _mm_add_epi32(even, _mm_srli_si128(even, 8));
        sums[c] = _mm_cvtsi128_si32(even) - (all - _mm_cvtsi128_si32(even));
    }
}
#elif NAME_SIMD == 2
/* The same, 64 pixels at once: a word of weights is the mask of the pixels to add. */
static inline void name_sums_by_simd(int32_t *sums, const uint8_t *x, const name_word *w,
                                     uint32_t width, uint32_t channels)
{
    uint8_t pixels[64 * NAME_WORDS(NAME_MOST_PIXELS)];
    const __m512i zero = _mm512_setzero_si512();
    const uint32_t words = NAME_WORDS(width);
    uint32_t c, i, k;
    int32_t all = 0;
    for (i = 0; i < width; i++) {
        pixels[i] = x[i];
        all += x[i];
    }
    for (; i < 64 * words; i++)
        pixels[i] = 0;
    for (c = 0; c < channels; c++, w += words) {
        __m512i plus = zero;
        for (k = 0; k < words; k++) {
            const __m512i counted = _mm512_maskz_loadu_epi8(w[k], pixels + 64 * k);
            plus = _mm512_add_epi64(plus, _mm512_sad_epu8(counted, zero));
        }
        sums[c] = (int32_t)_mm512_reduce_add_epi64(plus);
        sums[c] -= all - sums[c];
    }
}
#endif

static inline void name_sums(int32_t *sums, const uint8_t *x, const name_word *w, uint32_t width,
                             uint32_t channels)
{
#if NAME_SIMD
    if (width >= 32) {
        name_sums_by_simd(sums, x, w, width, channels);
        return;
    }
#endif
    name_sums_by_table(sums, x, w, width, channels);
}

//: compare
/* Bit c is 1 if sum c has reached its threshold. */
static inline void name_compare(name_word *y, uint32_t at, const int32_t *sums,
                                const name_threshold *thresholds, uint32_t channels)
{
    uint32_t c, start, n;
    for (start = 0; start < channels; start += n) {
        name_word bits = 0;
        n = channels - start < NAME_WORD_BITS ? channels - start : NAME_WORD_BITS;
        for (c = 0; c < n; c++)
            bits |= (name_word)(sums[start + c] >=
                                NAME_READ(name_threshold, &thresholds[start + c]))
                    << c;
        name_put(y, at + start, bits, n);
    }
}

//: window
/* The windows on an image; pairs are (down, across). */
typedef struct {
    uint32_t height, width, channels; /* of the image */
    uint32_t columns;                 /* windows side by side */
    uint32_t size[2], stride[2], dilation[2], border[2];
    uint32_t outside; /* the bit, or the pixel, of the border */
} name_window;

/* The pixel at position (i, j) of window n, or -1 outside the image. */
static inline int32_t name_place(const name_window *v, uint32_t n, uint32_t i, uint32_t j)
{
    /* Above or left of the image these wrap around to large numbers. */
    const uint32_t y = n / v->columns * v->stride[0] + i * v->dilation[0] - v->border[0];
    const uint32_t x = n % v->columns * v->stride[1] + j * v->dilation[1] - v->border[1];
    return y < v->height && x < v->width ? (int32_t)(y * v->width + x) : -1;
}

//: pixels
/* Window n as a row of pixels. */
static inline void name_pixels(uint8_t *row, const uint8_t *x, const name_window *v, uint32_t n)
{
    uint32_t c, i, j;
    NAME_LOAD(name_window, v)
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const int32_t place = name_place(v, n, i, j);
            for (c = 0; c < v->channels; c++)
                *row++ = place < 0 ? (uint8_t)v->outside
                                   : x[(uint32_t)place * v->channels + c];
        }
}

//: gather
/* The bits of window n; those of each position begin `step` bits after those of the one before. With
   a step of 0 they are ORed, which is their maximum. */
static inline void name_gather(name_word *row, uint32_t at, uint32_t step, const name_word *x,
                               const name_window *v, uint32_t n)
{
    uint32_t c, i, j, m;
    NAME_LOAD(name_window, v)
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++, at += step) {
            const int32_t place = name_place(v, n, i, j);
            for (c = 0; c < v->channels; c += m) {
                name_word bits = (name_word)-(name_word)v->outside;
                m = v->channels - c < NAME_WORD_BITS ? v->channels - c : NAME_WORD_BITS;
                if (place >= 0) {
                    const uint32_t from = (uint32_t)place * v->channels + c;
                    const uint32_t k = from / NAME_WORD_BITS, s = from % NAME_WORD_BITS;
                    bits = x[k] >> s;
                    if (s + m > NAME_WORD_BITS)
                        bits |= x[k + 1] << (NAME_WORD_BITS - s);
                }
                if (m < NAME_WORD_BITS)
                    bits &= ((name_word)1 << m) - 1;
                name_put(row, at + c, bits, m);
            }
        }
}

//: flip
/* Flips the bits of some channels at every position. */
static inline void name_flip(name_word *x, const name_word *mask, uint32_t places,
                             uint32_t channels)
{
    uint32_t c, p;
    for (p = 0; p < places; p++)
        for (c = 0; c < channels; c++) {
            const uint32_t at = p * channels + c;
            const name_word flips = NAME_READ(name_word, &mask[c / NAME_WORD_BITS]);
            const name_word bit = (flips >> (c % NAME_WORD_BITS)) & 1;
            x[at / NAME_WORD_BITS] ^= bit << (at % NAME_WORD_BITS);
        }
}

//: pool
/* The greatest sum of each window and channel, in place: no later window begins before the position
   that is written. */
static inline void name_pool(int32_t *sums, const name_window *v, uint32_t windows)
{
    uint32_t c, i, j, n;
    NAME_LOAD(name_window, v)
    for (n = 0; n < windows; n++)
        for (c = 0; c < v->channels; c++) {
            int32_t most = INT32_MIN;
            for (i = 0; i < v->size[0]; i++)
                for (j = 0; j < v->size[1]; j++) {
                    const uint32_t place = (uint32_t)name_place(v, n, i, j);
                    const int32_t sum = sums[place * v->channels + c];
                    most = sum > most ? sum : most;
                }
            sums[n * v->channels + c] = most;
        }
}

//: bit
/* Bit i of a row, as +1 or -1. */
static inline int16_t name_bit(const name_word *x, uint32_t i)
{
    return (x[i / NAME_WORD_BITS] >> (i % NAME_WORD_BITS)) & 1 ? 1 : -1;
}

//: unpack
/* Bits as +1 and -1. */
static inline void name_unpack(int16_t *y, const name_word *x, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++)
        y[i] = name_bit(x, i);
}

//: part
/* Of window n, the bits of `count` channels from `first` on; beyond the image they are `outside`.
   Without x, they are 1 in the image. */
static inline void name_part(name_word *row, const name_word *x, const name_window *v, uint32_t n,
                             uint32_t first, uint32_t count, uint32_t outside)
{
    uint32_t at = 0, c, i, j, m;
    NAME_LOAD(name_window, v)
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const int32_t place = name_place(v, n, i, j);
            for (c = 0; c < count; c += m, at += m) {
                name_word bits = (name_word)-(name_word)(place < 0 ? outside : 1);
                m = count - c < NAME_WORD_BITS ? count - c : NAME_WORD_BITS;
                if (x && place >= 0) {
                    const uint32_t from = (uint32_t)place * v->channels + first + c;
                    const uint32_t k = from / NAME_WORD_BITS, s = from % NAME_WORD_BITS;
                    bits = x[k] >> s;
                    if (s + m > NAME_WORD_BITS)
                        bits |= x[k + 1] << (NAME_WORD_BITS - s);
                }
                if (m < NAME_WORD_BITS)
                    bits &= ((name_word)1 << m) - 1;
                name_put(row, at, bits, m);
            }
        }
}

//: row of bits
/* Of window n, `count` channels from `first` on, as +1 and -1; beyond the image they are
   `outside`. */
static inline void name_row_of_bits(int16_t *row, const name_word *x, const name_window *v,
                                    uint32_t n, uint32_t first, uint32_t count, int16_t outside)
{
    uint32_t c, i, j;
    NAME_LOAD(name_window, v)
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const int32_t place = name_place(v, n, i, j);
            const uint32_t from = (uint32_t)place * v->channels + first;
            for (c = 0; c < count; c++)
                *row++ = place < 0 ? outside : name_bit(x, from + c);
        }
}

//: row of values
/* Of window n, `count` channels from `first` on; beyond the image they are `outside`. */
static inline void name_row_of_values(value_type *row, const value_type *x, const name_window *v,
                                      uint32_t n, uint32_t first, uint32_t count,
                                      value_type outside)
{
    uint32_t c, i, j;
    NAME_LOAD(name_window, v)
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const int32_t place = name_place(v, n, i, j);
            const uint32_t from = (uint32_t)place * v->channels + first;
            for (c = 0; c < count; c++)
                *row++ = place < 0 ? outside : x[from + c];
        }
}

//: masked
/* The sums of products of bits: of those where `valid` is 1, with the weights that are not 0, which
   have a 1 in `mask`. Without `valid` or `mask` it is 1 everywhere. */
static inline void name_masked(int32_t *sums, const name_word *x, const name_word *valid,
                               const name_word *w, const name_word *mask, uint32_t width,
                               uint32_t channels)
{
    const uint32_t words = NAME_WORDS(width);
    uint32_t c, k;
    for (c = 0; c < channels; c++, w += words) {
        uint32_t all = 0, different = 0;
        for (k = 0; k < words; k++) {
            name_word counted = valid ? valid[k] : (name_word)-1;
            if (mask)
                counted &= NAME_READ(name_word, &mask[c * words + k]);
            all += name_popcount(counted);
            different += name_popcount((x[k] ^ NAME_READ(name_word, &w[k])) & counted);
        }
        sums[c] = (int32_t)all - 2 * (int32_t)different;
    }
}

//: byte sums of values
/* For each channel, the sum of the values times its weights. */
static inline void name_byte_sums_of_values(int32_t *sums, const value_type *x, const int8_t *w,
                                            uint32_t width, uint32_t channels)
{
    uint32_t c, i;
    for (c = 0; c < channels; c++, w += width) {
        int32_t sum = 0;
        for (i = 0; i < width; i++)
            sum += (int32_t)x[i] * NAME_READ(int8_t, &w[i]);
        sums[c] = sum;
    }
}

//: plane sums of values
/* The sums of some of 4 values, for each 4 bits; values that are not there add nothing. */
static inline void name_table_of_values(int32_t *table, const value_type *x, uint32_t n)
{
    uint32_t i, k;
    table[0] = 0;
    for (k = 0; k < 4; k++) {
        const int32_t value = k < n ? x[k] : 0;
        for (i = 0; i < (1u << k); i++)
            table[(1u << k) + i] = table[i] + value;
    }
}

/* For each channel, the sum of the values times weights of +1 and -1, as bits; or 0 where `mask` is 0, if it is there. */
static inline void name_plane_sums_of_values(int32_t *sums, const value_type *x,
                                             const name_word *w, const name_word *mask,
                                             uint32_t width, uint32_t channels)
{
    int32_t table[4 * NAME_WORD_BITS];
    const uint32_t words = NAME_WORDS(width);
    uint32_t c, g, i, k;
    for (c = 0; c < channels; c++)
        sums[c] = 0;
    for (k = 0; k < words; k++) {
        const uint32_t at = k * NAME_WORD_BITS, left = width - at;
        const uint32_t n = left < NAME_WORD_BITS ? left : NAME_WORD_BITS;
        for (g = 0; g < n && channels >= 4; g += 4)
            name_table_of_values(table + 4 * g, x + at + g, n - g);
        for (c = 0; c < channels; c++) {
            name_word plus = NAME_READ(name_word, &w[c * words + k]);
            name_word minus = ~plus;
            int32_t sum = sums[c];
            if (mask)
                minus &= NAME_READ(name_word, &mask[c * words + k]);
            if (channels >= 4)
                for (g = 0; g < n; g += 4, plus >>= 4, minus >>= 4)
                    sum += table[4 * g + (uint32_t)(plus & 15)] -
                           table[4 * g + (uint32_t)(minus & 15)];
            else /* tables take longer than they save */
                for (i = 0; i < n; i++, plus >>= 1, minus >>= 1)
                    sum += ((int32_t)(plus & 1) - (int32_t)(minus & 1)) * x[at + i];
            sums[c] = sum;
        }
    }
}

//: window sums of bits
/* The sum of window n for each channel; bits count as +1 and -1. */
static inline void name_window_sums_of_bits(int32_t *sums, const name_word *x,
                                            const name_window *v, uint32_t n)
{
    uint32_t c, i, j;
    NAME_LOAD(name_window, v)
    for (c = 0; c < v->channels; c++)
        sums[c] = 0;
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const uint32_t from = (uint32_t)name_place(v, n, i, j) * v->channels;
            for (c = 0; c < v->channels; c++)
                sums[c] += name_bit(x, from + c);
        }
}

//: window sums of values
/* The sum of window n for each channel. */
static inline void name_window_sums_of_values(int32_t *sums, const value_type *x,
                                              const name_window *v, uint32_t n)
{
    uint32_t c, i, j;
    NAME_LOAD(name_window, v)
    for (c = 0; c < v->channels; c++)
        sums[c] = 0;
    for (i = 0; i < v->size[0]; i++)
        for (j = 0; j < v->size[1]; j++) {
            const uint32_t from = (uint32_t)name_place(v, n, i, j) * v->channels;
            for (c = 0; c < v->channels; c++)
                sums[c] += x[from + c];
        }
}

//: signs of values
/* Bit c is 1 if value c has reached its threshold from below; where `falls` is 1, from above. */
static inline void name_signs_of_values(name_word *y, uint32_t at, const value_type *x,
                                        const name_level *thresholds, const name_word *falls,
                                        uint32_t channels)
{
    uint32_t c, start, n;
    for (start = 0; start < channels; start += n) {
        const name_word fall = falls ? NAME_READ(name_word, &falls[start / NAME_WORD_BITS]) : 0;
        name_word bits = 0;
        n = channels - start < NAME_WORD_BITS ? channels - start : NAME_WORD_BITS;
        for (c = 0; c < n; c++) {
            const int32_t value = x[start + c];
            const int32_t t = NAME_READ(name_level, &thresholds[start + c]);
            bits |= (name_word)((fall >> c) & 1 ? value <= t : value >= t) << c;
        }
        name_put(y, at + start, bits, n);
    }
}

//: levels of values
/* How many of its thresholds each value has reached from below; where `falls` is 1, from above. */
static inline void name_levels_of_values(int16_t *y, const value_type *x,
                                         const name_level *thresholds, const name_word *falls,
                                         uint32_t channels, uint32_t levels)
{
    uint32_t c, i;
    for (c = 0; c < channels; c++, thresholds += levels) {
        const name_word word = falls ? NAME_READ(name_word, &falls[c / NAME_WORD_BITS]) : 0;
        const int fall = (int)((word >> (c % NAME_WORD_BITS)) & 1);
        const int32_t value = x[c];
        int n = 0;
        for (i = 0; i < levels; i++) {
            const int32_t t = NAME_READ(name_level, &thresholds[i]);
            n += fall ? value <= t : value >= t;
        }
        y[c] = (int16_t)n;
    }
}

//: floor
/* floor(v / 2^shift). Numbers below 0 are moved above it first, since shifts of them may differ
   between compilers. */
static inline int16_t name_floor(int32_t v, uint32_t shift)
{
    const uint32_t offset = UINT32_C(1) << 31;
    if (shift == 0)
        return (int16_t)v;
    return (int16_t)((int32_t)(((uint32_t)v + offset) >> shift) - (int32_t)(offset >> shift));
}

//: wide floor
/* floor(v / 2^shift), for v below 2^52 in size. Numbers below 0 are moved above it first, since
   shifts of them may differ between compilers. */
static inline int16_t name_wide_floor(int64_t v, uint32_t shift)
{
    const uint64_t offset = UINT64_C(1) << 52;
    return (int16_t)((int64_t)(((uint64_t)v + offset) >> shift) - (int64_t)(offset >> shift));
}

//: scale of values
/* floor((a[c] x[c] + b[c]) / 2^shift); y may be x. */
static inline void name_scale_of_values(int16_t *y, const value_type *x, const int32_t *a,
                                        const int32_t *b, uint32_t shift, uint32_t channels)
{
    uint32_t c;
    for (c = 0; c < channels; c++)
        y[c] = name_floor(NAME_READ(int32_t, &a[c]) * x[c] + NAME_READ(int32_t, &b[c]), shift);
}

//: wide scale of values
/* floor((a[c] x[c] + b[c]) / 2^shift) in 64 bits; y may be x. */
static inline void name_wide_scale_of_values(int16_t *y, const value_type *x, const int32_t *a,
                                             const int64_t *b, uint32_t shift, uint32_t channels)
{
    uint32_t c;
    for (c = 0; c < channels; c++)
        y[c] = name_wide_floor(
            (int64_t)NAME_READ(int32_t, &a[c]) * x[c] + NAME_READ(int64_t, &b[c]), shift);
}

//: choose
/* One of two numbers for each bit, from bit `at` on. */
static inline void name_choose(int16_t *y, const name_word *x, uint32_t at, const int16_t *off,
                               const int16_t *on, uint32_t channels)
{
    uint32_t c;
    for (c = 0; c < channels; c++)
        y[c] = name_bit(x, at + c) > 0 ? NAME_READ(int16_t, &on[c]) : NAME_READ(int16_t, &off[c]);
}

//: slopes
/* Numbers above 0 as they are; others times a[c] / 2^shift, rounded; y may be x. */
static inline void name_slopes(int16_t *y, const int16_t *x, const int32_t *a, uint32_t shift,
                               uint32_t channels)
{
    const int32_t half = (int32_t)1 << (shift - 1);
    uint32_t c;
    for (c = 0; c < channels; c++)
        y[c] = x[c] > 0 ? x[c] : name_floor(NAME_READ(int32_t, &a[c]) * x[c] + half, shift);
}

//: wide slopes
/* Numbers above 0 as they are; others times a[c] / 2^shift, rounded, in 64 bits; y may be x. */
static inline void name_wide_slopes(int16_t *y, const int16_t *x, const int32_t *a,
                                    uint32_t shift, uint32_t channels)
{
    const int64_t half = (int64_t)1 << (shift - 1);
    uint32_t c;
    for (c = 0; c < channels; c++)
        y[c] = x[c] > 0 ? x[c]
                        : name_wide_floor((int64_t)NAME_READ(int32_t, &a[c]) * x[c] + half, shift);
}

//: maxima of values
/* The greatest value of each window and channel, or the least where `falls` is 1; y may be x, since
   no later window begins before the position that is written. */
static inline void name_maxima_of_values(value_type *y, const value_type *x, const name_window *v,
                                         uint32_t windows, const name_word *falls)
{
    uint32_t c, i, j, n;
    NAME_LOAD(name_window, v)
    for (n = 0; n < windows; n++)
        for (c = 0; c < v->channels; c++) {
            const name_word word = falls ? NAME_READ(name_word, &falls[c / NAME_WORD_BITS]) : 0;
            const int fall = (int)((word >> (c % NAME_WORD_BITS)) & 1);
            value_type most = x[(uint32_t)name_place(v, n, 0, 0) * v->channels + c];
            for (i = 0; i < v->size[0]; i++)
                for (j = 0; j < v->size[1]; j++) {
                    const uint32_t place = (uint32_t)name_place(v, n, i, j);
                    const value_type value = x[place * v->channels + c];
                    most = (fall ? value < most : value > most) ? value : most;
                }
            y[n * v->channels + c] = most;
        }
}

//: join numbers
/* The n channels of a source, as those from `first` on of `total`, at each position. */
static inline void name_join_numbers(int16_t *y, const int16_t *x, uint32_t positions, uint32_t n,
                                     uint32_t total, uint32_t first)
{
    uint32_t c, p;
    for (p = 0; p < positions; p++)
        for (c = 0; c < n; c++)
            y[p * total + first + c] = x[p * n + c];
}

//: join bits
/* The n channels of a source, as those from `first` on of `total`, at each position. */
static inline void name_join_bits(name_word *y, const name_word *x, uint32_t positions, uint32_t n,
                                  uint32_t total, uint32_t first)
{
    uint32_t c, m, p;
    for (p = 0; p < positions; p++)
        for (c = 0; c < n; c += m) {
            const uint32_t from = p * n + c, k = from / NAME_WORD_BITS, s = from % NAME_WORD_BITS;
            name_word bits = x[k] >> s;
            m = n - c < NAME_WORD_BITS ? n - c : NAME_WORD_BITS;
            if (s + m > NAME_WORD_BITS)
                bits |= x[k + 1] << (NAME_WORD_BITS - s);
            if (m < NAME_WORD_BITS)
                bits &= ((name_word)1 << m) - 1;
            name_put(y, p * total + first + c, bits, m);
        }
}

//: predict
static inline int name_predict(const uint8_t *image)
{
    name_score scores[NAME_CLASSES];
    int c, label = 0;
    name_scores(image, scores);
    for (c = 1; c < NAME_CLASSES; c++)
        if (scores[c] > scores[label])
            label = c;
    return label;
}

//: predict one
static inline int name_predict(const uint8_t *image)
{
    name_score scores[NAME_CLASSES];
    name_scores(image, scores);
    return scores[0] >= 0;
}

//: checksum
/* Mixes a number into a checksum; changing one number always changes the checksum. */
static inline uint32_t name_mix(uint32_t h, uint32_t number)
{
    h = (h ^ number) * UINT32_C(0x9E3779B1);
    return h ^ (h >> 15);
}

/* The checksum of rows of bits, in pairs of 32 bits, so that both sizes of words give the same. */
static inline uint32_t name_mix_words(uint32_t h, const name_word *row, uint32_t rows,
                                      uint32_t width)
{
    const uint32_t words = NAME_WORDS(width);
    uint32_t i, k, at;
    for (i = 0; i < rows; i++, row += words)
        for (k = 0; k < 2 * ((width + 63) / 64); k++) {
            at = 32 * k / NAME_WORD_BITS;
            h = name_mix(h, at < words ? (uint32_t)(NAME_READ(name_word, &row[at]) >>
                                                    32 * k % NAME_WORD_BITS)
                                       : 0);
        }
    return h;
}

/* The checksum of integers of any type, each as 64 bits. */
#define NAME_MIX_NUMBERS(h, type, numbers)                                                        \
    for (i = 0; i < (int)(sizeof(numbers) / sizeof((numbers)[0])); i++) {                         \
        const uint64_t number = (uint64_t)NAME_READ(type, &(numbers)[i]);                         \
        h = name_mix(name_mix(h, (uint32_t)number), (uint32_t)(number >> 32));                    \
    }

//: selftest
/* Whether the compiled network is the one that was packed: 0 if it gives the scores and labels that
   it had then, and its constants are the same; 1 + the number of the first image with others; and
   1 + the number of images if only the checksum of the constants differs. */
static inline int name_selftest(void)
{
    int i, c;
    for (i = 0; i < NAME_VECTORS; i++) {
        name_score scores[NAME_CLASSES];
#if NAME_PROGMEM
        name_pixel image[sizeof name_images[0] / sizeof name_images[0][0]];
        memcpy_P(image, name_images[i], sizeof image);
#else
        const name_pixel *const image = name_images[i];
#endif
        name_scores(image, scores);
        for (c = 0; c < NAME_CLASSES; c++)
            if (scores[c] != NAME_READ(name_score, &name_expected[i][c]))
                return 1 + i;
        if (name_predict(image) != NAME_READ(int, &name_labels[i]))
            return 1 + i;
    }
    return name_checksum() == NAME_CHECKSUM ? 0 : 1 + NAME_VECTORS;
}
