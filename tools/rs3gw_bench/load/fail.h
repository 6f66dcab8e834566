/* Ends the program, with exit code 2 and a sentence, where a run cannot be done at all. */
#ifndef RS3GW_BENCH_FAIL_H
#define RS3GW_BENCH_FAIL_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fail(...)                         \
    do {                                  \
        fprintf(stderr, "load: " __VA_ARGS__); \
        fputc('\n', stderr);              \
        exit(2);                          \
    } while (0)

#define fail_errno(what) fail("%s: %s", what, strerror(errno))

#endif
