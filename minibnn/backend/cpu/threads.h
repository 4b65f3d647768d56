/* Independent tasks on the threads that are free. (A stand-in: one after the other.) */
#ifndef MINIBNN_THREADS_H
#define MINIBNN_THREADS_H
#include <stddef.h>

static inline void minibnn_run(ptrdiff_t tasks, void (*task)(ptrdiff_t i, void *argument),
                               void *argument)
{
    for (ptrdiff_t i = 0; i < tasks; i++)
        task(i, argument);
}
#endif
