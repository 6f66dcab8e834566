/* Latencies in nanoseconds, kept with three significant digits in constant space.
 *
 * Log-linear buckets, as Gil Tene's HdrHistogram has them: values below 2,048 have a bucket each,
 * and every doubling above is cut into 1,024 buckets of equal width. So the relative error is at
 * most 1/1,024, recording is a few instructions, and histograms add up bucket by bucket.
 * tests/unit/tools holds a twin in Python that says the same in other words.
 */
#ifndef RS3GW_BENCH_HISTOGRAM_H
#define RS3GW_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 10
#define HISTOGRAM_VALUE_BITS 42 /* 2^42 ns are 73 minutes; more is counted as that. */
#define HISTOGRAM_BUCKETS \
    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count, sum, least, greatest;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value, and the greatest value of a bucket. */
unsigned histogram_index(uint64_t value);
uint64_t histogram_upper(unsigned index);

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_add(struct histogram *total, const struct histogram *part);

/* The value that `share` (0 to 1) of all values do not exceed, to three digits, and never more
 * than the greatest one seen; 0 for an empty histogram. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
