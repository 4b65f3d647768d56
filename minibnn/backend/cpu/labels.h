/* Labels that are class numbers. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Label number i, of 1 or 8 bytes. A negative one becomes a number that is too large. */
static inline uint64_t label_at(const void *labels, ptrdiff_t bytes, ptrdiff_t i)
{
    if (bytes == 1)
        return ((const uint8_t *)labels)[i];
    uint64_t label;
    memcpy(&label, (const char *)labels + 8 * i, sizeof label);
    return label;
}
