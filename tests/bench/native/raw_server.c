/* The baseline: what one core can do with one `write` per client, and nothing that a product needs.
 *
 * Usage: raw_server JOIN. It joins up to JOIN events of one topic into one write. Clients ask for
 * `/t/FIRST+COUNT`, the topics that they watch; the feed says `TOPIC JSON`, line by line. Prints
 * its ports as a line of JSON.
 */

#define _GNU_SOURCE
#include "wire.h"
#include <sys/epoll.h>

#define FEED_BYTES (256 * 1024)
#define JOINED_BYTES (64 * 1024)
#define BEHIND_BYTES (256 * 1024) /* of one client; what comes on top is dropped, and counted */
#define WAIT_MS 1 /* for what might still be joined */

struct client {
    int fd;
    int is_open;
    unsigned first, count;
    uint8_t *behind; /* what its socket did not take */
    size_t behind_size;
};

struct topic {
    struct client **members;
    unsigned count, room;
};

static int epoll;
static struct topic *topics;
static unsigned topics_room;
static unsigned most_joined;
static uint64_t dropped;

static struct {
    uint8_t bytes[JOINED_BYTES];
    size_t size;
    unsigned count, topic;
} joined;

/* Made where it is not there yet. */
static struct topic *topic_of(unsigned number) {
    if (number >= topics_room) {
        unsigned room = number * 2 + 1024;
        topics = grown(topics, room * sizeof *topics);
        memset(topics + topics_room, 0, (room - topics_room) * sizeof *topics);
        topics_room = room;
    }
    return &topics[number];
}

static void watch_fd(int fd, uint32_t events, void *handle, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = handle};
    if (epoll_ctl(epoll, operation, fd, &event))
        die("epoll_ctl");
}

static void subscribe(struct client *client) {
    for (unsigned i = 0; i < client->count; i++) {
        struct topic *topic = topic_of(client->first + i);
        if (topic->count == topic->room) {
            topic->room = topic->room ? topic->room * 2 : 1;
            topic->members = grown(topic->members, topic->room * sizeof *topic->members);
        }
        topic->members[topic->count++] = client;
    }
}

static void forget(struct client *client) {
    for (unsigned i = 0; i < client->count; i++) {
        struct topic *topic = topic_of(client->first + i);
        for (unsigned j = 0; j < topic->count; j++)
            if (topic->members[j] == client)
                topic->members[j] = topic->members[--topic->count];
    }
    close(client->fd);
    free(client->behind);
    free(client);
}

static void send_to(struct client *client, const uint8_t *bytes, size_t size) {
    ssize_t wrote = client->behind ? 0 : write(client->fd, bytes, size);
    size_t left = size - (wrote > 0 ? (size_t)wrote : 0);
    if (!left)
        return;
    if (client->behind_size + left > BEHIND_BYTES) {
        dropped++;
        return;
    }
    if (!client->behind) {
        client->behind = grown(NULL, BEHIND_BYTES);
        watch_fd(client->fd, EPOLLIN | EPOLLOUT, client, EPOLL_CTL_MOD);
    }
    memcpy(client->behind + client->behind_size, bytes + size - left, left);
    client->behind_size += left;
}

static void catch_up(struct client *client) {
    ssize_t wrote = write(client->fd, client->behind, client->behind_size);
    if (wrote > 0) {
        client->behind_size -= (size_t)wrote;
        memmove(client->behind, client->behind + wrote, client->behind_size);
    }
    if (!client->behind_size) {
        free(client->behind);
        client->behind = NULL;
        watch_fd(client->fd, EPOLLIN, client, EPOLL_CTL_MOD);
    }
}

static void flush(void) {
    if (!joined.count)
        return;
    if (joined.topic < topics_room) { /* else nobody ever asked for it */
        struct topic *topic = &topics[joined.topic];
        for (unsigned i = 0; i < topic->count; i++)
            send_to(topic->members[i], joined.bytes, joined.size);
    }
    joined.count = 0;
    joined.size = 0;
}

static void publish(unsigned topic, const uint8_t *json, size_t size) {
    if (joined.count && (topic != joined.topic || joined.size + size + 4 > JOINED_BYTES))
        flush();
    joined.topic = topic;
    joined.size += put_header(joined.bytes + joined.size, TEXT, size, 0);
    memcpy(joined.bytes + joined.size, json, size);
    joined.size += size;
    if (++joined.count >= most_joined)
        flush();
}

static void take_feed(int fd) {
    static uint8_t bytes[FEED_BYTES + 1];
    static size_t held;
    ssize_t got = read(fd, bytes + held, FEED_BYTES - held);
    if (!got)
        exit(0);
    if (got < 0)
        return;
    uint8_t *at = bytes, *end = bytes + held + got, *line_end;
    while ((line_end = memchr(at, '\n', (size_t)(end - at)))) {
        char *json;
        unsigned topic = (unsigned)strtoul((char *)at, &json, 10);
        json++;
        publish(topic, (uint8_t *)json, (size_t)(line_end - (uint8_t *)json));
        at = line_end + 1;
    }
    held = (size_t)(end - at);
    memmove(bytes, at, held);
}

static void shake(struct client *client, char *request) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
    if (sscanf(request, "GET /t/%u+%u ", &client->first, &client->count) != 2 ||
        !strstr(request, "\r\nSec-WebSocket-Key: " KEY "\r\n") ||
        write(client->fd, answer, sizeof answer - 1) != sizeof answer - 1) {
        client->count = 0;
        forget(client);
        return;
    }
    client->is_open = 1;
    subscribe(client);
}

static void serve(struct client *client, uint32_t events) {
    char request[4096]; /* a client says nothing afterwards that matters */
    if (events & EPOLLOUT && client->behind)
        catch_up(client);
    if (!(events & ~(uint32_t)EPOLLOUT))
        return;
    ssize_t got = read(client->fd, request, sizeof request - 1);
    if (got <= 0) {
        if (!got || errno != EAGAIN)
            forget(client);
        return;
    }
    request[got] = 0;
    if (!client->is_open)
        shake(client, request);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct client *client = grown(NULL, sizeof *client);
        *client = (struct client){.fd = fd};
        send_at_once(fd);
        watch_fd(fd, EPOLLIN, client, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv) {
    static char clients_handle, feeds_handle, feed_handle;
    unsigned port, feed_port;
    int feed = -1;
    if (argc != 2 || !(most_joined = (unsigned)atoi(argv[1]))) {
        fprintf(stderr, "usage: raw_server JOIN\n");
        return 2;
    }
    epoll = epoll_create1(0);
    int listener = listen_on_loopback(&port), feeds = listen_on_loopback(&feed_port);
    watch_fd(listener, EPOLLIN, &clients_handle, EPOLL_CTL_ADD);
    watch_fd(feeds, EPOLLIN, &feeds_handle, EPOLL_CTL_ADD);
    printf("{\"port\":%u,\"feed\":%u}\n", port, feed_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[512];
        int count = epoll_wait(epoll, events, 512, joined.count ? WAIT_MS : -1);
        if (!count)
            flush();
        for (int i = 0; i < count; i++) {
            void *handle = events[i].data.ptr;
            if (handle == &clients_handle) {
                accept_all(listener);
            } else if (handle == &feeds_handle) {
                feed = accept4(feeds, NULL, NULL, SOCK_NONBLOCK);
                watch_fd(feed, EPOLLIN, &feed_handle, EPOLL_CTL_ADD);
            } else if (handle == &feed_handle) {
                take_feed(feed);
            } else {
                serve(handle, events[i].events);
            }
        }
    }
}
