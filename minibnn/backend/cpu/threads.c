/* Threads for the C kernels, and for the BLAS's products.
 *
 * A kernel cuts its work into tasks, in a way that only the shapes decide, and calls `minibnn_run`.
 * Each thread takes the next task until none is left; so results do not depend on the number of
 * threads, and a thread that comes late or is slow holds nobody up for longer than a task.
 *
 * There are as many threads as the BLAS may use, so whatever limits it (OPENBLAS_NUM_THREADS,
 * threadpoolctl) limits these, too. A thread that finds no work looks out for more for a while,
 * since a training step has some again in a few microseconds; then it sleeps.
 *
 * The BLAS has threads of its own, which look out for more work, too, for much longer. Two sets of
 * threads would disturb each other. Therefore large products of the BLAS are cut into tasks here, and
 * the BLAS uses one thread for each.
 */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { MOST = 64, LOOK_OUT = 100000 /* nanoseconds */ };

static struct {
    pthread_mutex_t in_use; /* held by the caller whose job the threads do */
    pthread_t threads[MOST];
    int started, wanted;

    void (*task)(ptrdiff_t, void *);
    void *argument;
    ptrdiff_t tasks;
    _Atomic ptrdiff_t next; /* the first task that nobody has taken */
    atomic_uint number;     /* of the job; odd while it is open */
    atomic_int inside;      /* threads that take tasks */
    atomic_bool ending;

    pthread_mutex_t lock; /* for sleeping */
    pthread_cond_t wake;
    atomic_int asleep;
} pool = {.in_use = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static int own_limit = 1;       /* threads, if the BLAS does not say */
static int (*blas_limit)(void); /* the BLAS's number of threads */
static void (*limit_blas)(int);
static void *sgemm;
static bool long_integers; /* of the BLAS: 64 bits */

static int limit(void)
{
    int threads = blas_limit ? blas_limit() : own_limit;
    return threads < 1 ? 1 : threads > MOST ? MOST : threads;
}

static inline void pause_a_little(void)
{
#if defined(__x86_64__)
    for (int i = 0; i < 8; i++)
        __builtin_ia32_pause();
#endif
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void take_tasks(void)
{
    for (ptrdiff_t i; (i = atomic_fetch_add(&pool.next, 1)) < pool.tasks;)
        pool.task(i, pool.argument);
}

static bool nothing_new(unsigned seen)
{
    unsigned number = atomic_load(&pool.number);
    return (number == seen || number % 2 == 0) && !atomic_load(&pool.ending);
}

static void *work(void *index)
{
    for (unsigned seen = 0;;) {
        for (int64_t start = nanoseconds(); nothing_new(seen);) {
            pause_a_little();
            if (nanoseconds() - start < LOOK_OUT)
                continue;
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.asleep, 1); /* before looking: `minibnn_run` does the reverse */
            while (nothing_new(seen))
                pthread_cond_wait(&pool.wake, &pool.lock);
            atomic_fetch_sub(&pool.asleep, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        if (atomic_load(&pool.ending))
            return NULL;
        seen = atomic_load(&pool.number);
        atomic_fetch_add(&pool.inside, 1);
        /* While this thread is inside, the job that is open now stays as it is. */
        if (seen % 2 && atomic_load(&pool.number) == seen && (intptr_t)index < pool.wanted)
            take_tasks();
        atomic_fetch_sub(&pool.inside, 1);
    }
}

static void wake_all(void)
{
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

/* A process that forks has no threads meanwhile: the child would not have them. */
static void before_fork(void)
{
    pthread_mutex_lock(&pool.in_use);
    atomic_store(&pool.ending, true);
    wake_all();
    while (pool.started > 0)
        pthread_join(pool.threads[--pool.started], NULL);
    atomic_store(&pool.ending, false);
}

static bool fork_safe;

static void after_fork(void) { pthread_mutex_unlock(&pool.in_use); }

static void start_threads(int wanted)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for Python's main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; fork_safe && pool.started < wanted; pool.started++)
        if (pthread_create(&pool.threads[pool.started], NULL, work,
                           (void *)(intptr_t)pool.started))
            break;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Do a job on the pool, which is in use by this caller. */
static void run_on_pool(int threads, ptrdiff_t tasks, void (*task)(ptrdiff_t, void *), void *argument)
{
    pool.wanted = threads - 1;
    if (pool.started < pool.wanted)
        start_threads(pool.wanted);
    pool.task = task, pool.argument = argument, pool.tasks = tasks;
    atomic_store(&pool.next, 0);
    atomic_fetch_add(&pool.number, 1); /* open */
    if (atomic_load(&pool.asleep))
        wake_all();
    take_tasks();
    atomic_fetch_add(&pool.number, 1); /* closed: nobody comes in any more */
    for (int i = 0; atomic_load(&pool.inside); i++)
        if (i < 1000)
            pause_a_little();
        else
            sched_yield(); /* perhaps that thread waits for this processor */
}

void minibnn_run(ptrdiff_t tasks, void (*task)(ptrdiff_t, void *), void *argument)
{
    int threads = tasks > 1 ? limit() : 1;
    if (threads > 1 && pthread_mutex_trylock(&pool.in_use) == 0) {
        run_on_pool(threads < tasks ? threads : (int)tasks, tasks, task, argument);
        pthread_mutex_unlock(&pool.in_use);
        return;
    }
    for (ptrdiff_t i = 0; i < tasks; i++) /* alone, or the threads work for another caller */
        task(i, argument);
}

/* ---- The BLAS ---------------------------------------------------------------------------------- */

/* Use OpenBLAS's functions: its number of threads, how to set it, and cblas_sgemm with integers of 64
 * or 32 bits. `threads` is the limit if they are NULL. */
void minibnn_use_blas(int (*get_threads)(void), void (*set_threads)(int), void *cblas_sgemm,
                      int has_long_integers, int threads)
{
    if (!fork_safe)
        fork_safe = pthread_atfork(before_fork, after_fork, after_fork) == 0;
    blas_limit = get_threads, limit_blas = set_threads, sgemm = cblas_sgemm;
    long_integers = has_long_integers, own_limit = threads;
}

int minibnn_threads(void) { return limit(); }

struct matrix {
    const float *at;
    ptrdiff_t apart; /* rows, or columns if transposed */
    bool transposed;
};

struct product {
    ptrdiff_t n, k, m, parts;
    struct matrix a, b;
    float *z;
};

/* Part i of z = a b: some columns if there are more of these, else some rows. */
static void multiply_part(ptrdiff_t i, void *argument)
{
    struct product p = *(struct product *)argument;
    ptrdiff_t length = p.m > p.n ? p.m : p.n, lines = (length + 15) / 16;
    ptrdiff_t start = lines * i / p.parts * 16, end = lines * (i + 1) / p.parts * 16;
    ptrdiff_t count = (end < length ? end : length) - start, apart = p.m;
    if (p.m > p.n) {
        p.b.at += p.b.transposed ? start * p.b.apart : start;
        p.z += start;
        p.m = count;
    } else {
        p.a.at += p.a.transposed ? start : start * p.a.apart;
        p.z += start * apart;
        p.n = count;
    }
    enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };
    int ta = p.a.transposed ? TRANSPOSED : AS_IT_IS, tb = p.b.transposed ? TRANSPOSED : AS_IT_IS;
    if (long_integers)
        ((void (*)(int, int, int, int64_t, int64_t, int64_t, float, const float *, int64_t,
                   const float *, int64_t, float, float *, int64_t))sgemm)(
            ROW_MAJOR, ta, tb, p.n, p.m, p.k, 1.0f, p.a.at, p.a.apart, p.b.at, p.b.apart, 0.0f, p.z,
            apart);
    else
        ((void (*)(int, int, int, int, int, int, float, const float *, int, const float *, int, float,
                   float *, int))sgemm)(ROW_MAJOR, ta, tb, (int)p.n, (int)p.m, (int)p.k, 1.0f, p.a.at,
                                        (int)p.a.apart, p.b.at, (int)p.b.apart, 0.0f, p.z,
                                        (int)apart);
}

/* Whether the BLAS takes a matrix (rows, columns) with these strides in bytes. */
static bool lay_out(struct matrix *a, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t down,
                    ptrdiff_t right)
{
    enum { SIZE = sizeof(float), LONGEST = 1 << 30 };
    a->transposed = right != SIZE;
    ptrdiff_t length = a->transposed ? rows : columns;
    a->apart = (a->transposed ? right : down) / SIZE;
    return (a->transposed ? down : right) == SIZE && a->apart >= length && a->apart < LONGEST;
}

/* z = a b by the BLAS on the threads here; 0 if it did not compute. z is stored by rows. */
int minibnn_blas_product(ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, ptrdiff_t a_down, ptrdiff_t a_right,
                         ptrdiff_t b_down, ptrdiff_t b_right, const float *a, const float *b,
                         float *z)
{
    struct product p = {n, k, m, 0, {a, 0, 0}, {b, 0, 0}, z};
    int threads = limit();
    if (!sgemm || threads == 1 || !lay_out(&p.a, n, k, a_down, a_right) ||
        !lay_out(&p.b, k, m, b_down, b_right) || pthread_mutex_trylock(&pool.in_use))
        return 0;
    ptrdiff_t lines = ((m > n ? m : n) + 15) / 16;
    p.parts = n * m < (1 << 20) / k ? 1 : lines < threads ? lines : threads;
    int before = blas_limit();
    limit_blas(1); /* only who uses the pool changes this */
    run_on_pool((int)p.parts, p.parts, multiply_part, &p);
    if (blas_limit() == 1) /* nobody has set it meanwhile */
        limit_blas(before);
    pthread_mutex_unlock(&pool.in_use);
    return 1;
}
