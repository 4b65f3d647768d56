/* The running statistics of batch norm. */
#include <math.h>
#include <stddef.h>

/* running <- momentum running + rest batch, for mean and variance; the batch's variance is first
 * multiplied by `factor`. Nothing changes if a statistic of the batch is not finite. */
void minibnn_update_running(ptrdiff_t n, float *running_mean, float *running_var, const float *mean,
                            const float *var, float momentum, float rest, float factor)
{
    for (ptrdiff_t i = 0; i < n; i++)
        if (!isfinite(mean[i] + factor * var[i]))
            return;
    for (ptrdiff_t i = 0; i < n; i++) {
        running_mean[i] = momentum * running_mean[i] + rest * mean[i];
        running_var[i] = momentum * running_var[i] + rest * (factor * var[i]);
    }
}
