// Writes lines of 100 characters from forked processes through LTTng-UST. lttng_ust.sh builds and runs it.

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_ust_tp.h"

enum { BYTES = 100 };

// Line `number` of `writer`: both, and a filling that depends on them. The checker makes the same.
static void make(char line[BYTES + 1], unsigned writer, unsigned long number) {
    int length = snprintf(line, BYTES + 1, "%04u %012lu ", writer, number);
    for (unsigned long at = number * 31 + writer * 7; length < BYTES; ++at, ++length)
        line[length] = (char)('a' + at % 26);
    line[BYTES] = 0;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    unsigned writers = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 1;
    unsigned long each = (count > 2 ? strtoul(arguments[2], NULL, 10) : 100000) / (writers ? writers : 1);
    atomic_uint *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED || writers == 0) return 2;
    atomic_uint *ready = words, *begun = words + 1;
    for (unsigned writer = 0; writer < writers; ++writer) {
        pid_t child = fork();
        if (child < 0) return 2;
        if (child > 0) continue;
        char line[BYTES + 1];
        atomic_fetch_add(ready, 1);
        while (!atomic_load(begun)) usleep(100);
        for (unsigned long number = 0; number < each; ++number) {
            make(line, writer, number);
            lttng_ust_tracepoint(compare, line, line, BYTES);
        }
        exit(0);
    }
    while (atomic_load(ready) < writers) usleep(100);
    double start = seconds();
    atomic_store(begun, 1);
    int failed = 0;
    for (int status; wait(&status) > 0;) failed |= status;
    // What the daemon has not taken yet is not in this: the script adds it.
    printf("%.9f\n", seconds() - start);
    return failed != 0;
}
