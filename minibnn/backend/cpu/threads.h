/* Sharing work among threads; see threads.c. */
#include <stddef.h>

/* Call task(i, argument) for each i below `tasks`, in any order, on the threads that are free. */
void minibnn_run(ptrdiff_t tasks, void (*task)(ptrdiff_t i, void *argument), void *argument);
