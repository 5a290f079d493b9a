/* The feed: makes events, at a rate or as fast as viewers take them, and hands them to a server.
 *
 * An event is what a publish step of the state machine sends, with the moment of its making in its
 * `detail`. Servers that only broadcast get it inside the `status` frame's JSON, as the product's
 * viewers see it; the product gets the event itself.
 */

#ifndef FEED_H
#define FEED_H

#include "wire.h"

#define STEPS 50 /* of one execution, then the topic's next one begins */
#define STRIDE 7919 /* a prime: topics come in an order that is not the connections' */
#define FEED_BYTES (256 * 1024)

enum dialect { PLAIN, PRODUCT, NATS, NCHAN };

struct feed {
    int fd;
    enum dialect dialect;
    int is_blocked; /* until EPOLLOUT */
    char out[FEED_BYTES];
    size_t size, sent;
    /* Of this play. */
    unsigned play;
    unsigned topics, first_topic;
    uint64_t made;
};

static inline size_t put_event(struct feed *feed, char *out, unsigned topic, uint64_t turn) {
    struct timespec now;
    struct tm date;
    char name[48], time[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &date);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &date);
    snprintf(name, sizeof name, "b%u-%u-%llu", feed->play, topic, (unsigned long long)turn / STEPS);
    return (size_t)sprintf(
        out,
        "{\"v\":1,\"id\":\"%s.%llu\",\"source\":\"workflow\",\"instance_id\":\"i-%017x\","
        "\"execution\":{\"arn\":\"arn:aws:states:us-east-1:000000000000:execution:m:%s\","
        "\"name\":\"%s\",\"machine\":\"standard\",\"seq\":%llu,\"redrive\":0},"
        "\"state\":\"PublishWaiting\",\"status\":\"WAITING\",\"time\":\"%s.%03ldZ\","
        "\"terminal\":false,\"reason\":null,\"detail\":{\"at\":%llu}}",
        name, (unsigned long long)turn % STEPS + 1, topic, name, name,
        (unsigned long long)turn % STEPS + 1, time, now.tv_nsec / 1000000,
        (unsigned long long)now_ns());
}

/* Appends the next event, dressed for its server; at most 1 KiB. */
static inline void make_event(struct feed *feed) {
    char event[768], status[896];
    unsigned topic = feed->first_topic + (unsigned)(feed->made * STRIDE % feed->topics);
    size_t size = put_event(feed, event, topic, feed->made / feed->topics);
    char *out = feed->out + feed->size;
    if (feed->dialect == PRODUCT) {
        memcpy(out, event, size);
        out[size] = '\n';
        feed->size += size + 1;
    } else {
        int whole = sprintf(status, "{\"op\":\"status\",\"cursor\":\"9f3c02aa-%llu\",\"event\":%.*s}",
                            (unsigned long long)feed->made, (int)size, event);
        if (feed->dialect == NATS)
            feed->size += (size_t)sprintf(out, "PUB t.%u %d\r\n%s\r\n", topic, whole, status);
        else if (feed->dialect == NCHAN)
            feed->size += (size_t)sprintf(out,
                                          "POST /pub/%u HTTP/1.1\r\nHost: x\r\n"
                                          "Content-Length: %d\r\n\r\n%s",
                                          topic, whole, status);
        else
            feed->size += (size_t)sprintf(out, "%u %s\n", topic, status);
    }
    feed->made++;
}

static inline int feed_has_room(const struct feed *feed) {
    return !feed->is_blocked && feed->size + 1024 < FEED_BYTES;
}

/* Writes what was made; what the server does not take stays until it does. */
static inline void send_feed(struct feed *feed) {
    if (feed->size == feed->sent)
        return;
    ssize_t wrote = write(feed->fd, feed->out + feed->sent, feed->size - feed->sent);
    if (wrote < 0 && errno != EAGAIN)
        die("the server closed its feed");
    feed->sent += wrote > 0 ? (size_t)wrote : 0;
    feed->is_blocked = feed->sent < feed->size;
    if (!feed->is_blocked)
        feed->size = feed->sent = 0;
}

#endif
