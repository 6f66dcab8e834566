/* One run of load: N connections, requests in the order of the file, round and round. */
#ifndef RS3GW_BENCH_RUN_H
#define RS3GW_BENCH_RUN_H

#include "histogram.h"
#include "requests.h"
#include "stream.h"

#define RUN_SAMPLE_MAX 400

enum run_error {
    ERROR_CONNECT,   /* the connection or its handshake failed */
    ERROR_CLOSED,    /* the connection ended before the answer was whole */
    ERROR_MALFORMED, /* not HTTP, or bytes after the end of an answer */
    ERROR_STATUS,    /* another status than expected, SlowDown aside */
    ERROR_LENGTH,    /* another length than expected */
    ERROR_BODY,      /* other bytes than expected */
    ERROR_TIMEOUT,
    ERROR_KINDS,
};

extern const char *const run_error_names[ERROR_KINDS];

struct run_options {
    struct endpoint endpoint;
    unsigned connections;
    double seconds, warmup_seconds, timeout_seconds;
    uint64_t requests_max; /* 0: as many as fit the time */
    double rate;           /* per second, open loop; 0: closed loop */
};

struct run_result {
    uint64_t good;        /* right answers within the window */
    uint64_t sent;        /* requests begun, the warm-up and the errors included */
    uint64_t slow_down;   /* answers 503 SlowDown */
    uint64_t unsent;      /* open loop: due in the window and never begun */
    uint64_t reconnects;  /* idle connections that the server ended unannounced */
    uint64_t not_kept;    /* answers after which the server ended the connection */
    uint64_t errors[ERROR_KINDS];
    uint64_t bytes_sent, bytes_received;
    double seconds;       /* the window: from the end of the warm-up */
    double cpu_seconds;   /* what the generator itself used of it */
    struct histogram kinds[REQUESTS_KINDS_MAX];
    char sample[RUN_SAMPLE_MAX]; /* what was wrong first */
};

/* The result is large and lives as long as the program. */
struct run_result *run(const struct run_options *options, const struct requests *requests);

#endif
