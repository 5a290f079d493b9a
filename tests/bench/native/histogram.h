/* Latencies in logarithmic buckets: 128 to each doubling, so a figure is good to 0.8 %. */

#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <string.h>

#define SUB_BITS 7
#define SUBS (1u << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUBS) /* × 8 B = 58 KiB */

struct histogram {
    uint64_t buckets[BUCKETS];
    uint64_t count;
    uint64_t max;
};

static inline void histogram_clear(struct histogram *h) { memset(h, 0, sizeof *h); }

static inline void histogram_add(struct histogram *h, uint64_t value) {
    unsigned place;
    if (value < SUBS) {
        place = (unsigned)value;
    } else {
        unsigned doublings = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
        place = (doublings + 1) * SUBS + (unsigned)((value >> doublings) & (SUBS - 1));
    }
    h->buckets[place]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

/* The least value of the bucket in which the share lies; 0 where nothing was added. */
static inline uint64_t histogram_at(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count);
    uint64_t seen = 0;
    for (unsigned place = 0; place < BUCKETS; place++) {
        seen += h->buckets[place];
        if (seen > wanted) {
            if (place < SUBS)
                return place;
            unsigned doublings = place / SUBS - 1;
            return ((uint64_t)SUBS + place % SUBS) << doublings;
        }
    }
    return h->max;
}

#endif
