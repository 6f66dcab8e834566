#include "histogram.h"

#include <math.h>

#define SUB_BUCKETS (1u << HISTOGRAM_SUB_BITS)
#define VALUE_MAX ((1ull << HISTOGRAM_VALUE_BITS) - 1)

unsigned histogram_index(uint64_t value)
{
    if (value > VALUE_MAX)
        value = VALUE_MAX;
    if (value < 2 * SUB_BUCKETS)
        return (unsigned)value;
    /* How far the value must be shifted to lie between 1,024 and 2,047. */
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return shift * SUB_BUCKETS + (unsigned)(value >> shift);
}

uint64_t histogram_upper(unsigned index)
{
    if (index < 2 * SUB_BUCKETS)
        return index;
    unsigned shift = index / SUB_BUCKETS - 1;
    uint64_t sub = index - shift * SUB_BUCKETS;
    return ((sub + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    if (histogram->count == 0 || value < histogram->least)
        histogram->least = value;
    if (value > histogram->greatest)
        histogram->greatest = value;
    histogram->count++;
    histogram->sum += value;
    histogram->buckets[histogram_index(value)]++;
}

void histogram_add(struct histogram *total, const struct histogram *part)
{
    if (part->count == 0)
        return;
    if (total->count == 0 || part->least < total->least)
        total->least = part->least;
    if (part->greatest > total->greatest)
        total->greatest = part->greatest;
    total->count += part->count;
    total->sum += part->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        total->buckets[i] += part->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->count), seen = 0;
    if (wanted == 0)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) {
            uint64_t upper = histogram_upper(i);
            return upper < histogram->greatest ? upper : histogram->greatest;
        }
    }
    return histogram->greatest;
}
