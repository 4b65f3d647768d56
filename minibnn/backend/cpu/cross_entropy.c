/* The cross-entropy of a batch whose labels are class numbers, and its gradient. */
#include "labels.h"

void minibnn_log_softmax(ptrdiff_t rows, ptrdiff_t width, const float *x, float *logp, float *p);

/* For each row: log p, p, and the score, log p of its label. Returns 0, without a result, if a label
 * is not a class. */
int minibnn_cross_entropy(ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t label_bytes,
                          const float *logits, const void *labels, float *logp, float *p,
                          float *scores)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        if (label_at(labels, label_bytes, i) >= (uint64_t)classes)
            return 0;
    minibnn_log_softmax(rows, classes, logits, logp, p);
    for (ptrdiff_t i = 0; i < rows; i++)
        scores[i] = logp[i * classes + (ptrdiff_t)label_at(labels, label_bytes, i)];
    return 1;
}

/* dlogits = p / rows, minus `share` = 1 / rows at the label. Returns 0 likewise. */
int minibnn_cross_entropy_gradient(ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t label_bytes,
                                   const float *p, const void *labels, float *dlogits, float share)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        if (label_at(labels, label_bytes, i) >= (uint64_t)classes)
            return 0;
    for (ptrdiff_t j = 0; j < rows * classes; j++)
        dlogits[j] = p[j] / (float)rows;
    for (ptrdiff_t i = 0; i < rows; i++)
        dlogits[i * classes + (ptrdiff_t)label_at(labels, label_bytes, i)] -= share;
    return 1;
}
