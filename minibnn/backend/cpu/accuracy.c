/* Counting right answers. */
#include "labels.h"

#include <math.h>

/* The number of rows whose label has the greatest value, if that is finite. Of several equal ones the
 * first counts, and nan is greater than all. */
int minibnn_count_correct(ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t label_bytes, const float *x,
                          const void *labels)
{
    int right = 0;
    for (ptrdiff_t i = 0; i < rows; i++, x += classes) {
        ptrdiff_t greatest = 0;
        for (ptrdiff_t j = 1; j < classes; j++)
            greatest = x[j] <= x[greatest] || isnan(x[greatest]) ? greatest : j;
        right += label_at(labels, label_bytes, i) == (uint64_t)greatest && isfinite(x[greatest]);
    }
    return right;
}
