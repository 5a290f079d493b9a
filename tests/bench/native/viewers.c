/* Viewers: a load of WebSocket connections in one thread, with the feed of what they watch.
 *
 * Usage: viewers plain|product|nats|nchan. Reads commands from standard input, one line each, and
 * answers each with a line of JSON:
 *
 *   connect PORT COUNT EACH   so many connections. EACH = 0: all watch topic 0, or everything, if
 *                             it is the product's; otherwise each watches so many topics of its
 *                             own, counted on from 0
 *   feed PORT                 where events go
 *   play SECONDS RATE MOST FANOUT TOPICS FIRST
 *                             make events for so long, RATE per second in turn for TOPICS topics
 *                             from FIRST on; RATE = 0: as fast as may be with MOST of them on their
 *                             way. FANOUT is how many deliveries each brings (0: none). Answers
 *                             when all came, or nothing more does. RATE and MOST = 0: none are
 *                             made; what others make is counted for so long
 *   wait SECONDS              only hold
 *   closed SECONDS            hold until all were closed by the server, at most so long
 *   close                     close all
 *
 * Both are in one process because they share a core anyway, and so know exactly what is under way.
 *
 * Its own limit, against raw_server.c with 1,000 connections: 5 µs for each connection that has
 * something to read, and 0.1 µs for each event in it. That is 200,000 single events per second, or
 * 7,000,000 of 128 in each read; raw C's `write` takes as long or longer. The `saturated` scenario
 * shows the share of its core that it used beside each figure: near 1, it was what limited.
 */

#define _GNU_SOURCE
#include "feed.h"
#include "histogram.h"
#include "wire.h"
#include <sys/epoll.h>
#include <sys/resource.h>

#define READ_BYTES (1 << 20)
#define ABREAST 400   /* handshakes under way; below the product's bound of 2,000 half-open */
#define SOURCES 8     /* addresses to connect from, for one has 28,000 ports: 127.0.0.2 and on */
#define AT_ONCE 16    /* connections read before the feed is looked after: some 50 µs */
#define TICK_NS 250000 /* what is due within it is made together */
#define STALL_NS 30000000000ull /* without any delivery: what is missing was lost */
#define KEEP_BYTES (32 * 1024) /* of an unfinished frame; a longer one holds no single event */

struct viewer {
    int fd;
    unsigned number;
    enum { CONNECTING, SHAKING, OPEN, CLOSING, CLOSED } state;
    uint8_t *rest; /* of a frame, or of an answer to the handshake */
    size_t rest_size;
    uint64_t skip; /* bytes of a long frame that are still to come */
    uint8_t *text; /* NATS: of its own messages, unwrapped */
    size_t text_size;
};

static enum dialect dialect;
static int epoll;
static struct viewer *viewers;
static unsigned wanted, begun, open_count, gone_count, each_topics;
static struct sockaddr_in server;
static struct feed feed = {.fd = -1};
static uint8_t *buffer, *text;

static struct {
    uint64_t deliveries, bytes, reads, pings, others, failed;
    uint64_t closes[5000]; /* by code; 0: without one */
    uint64_t last_ns;
    struct histogram latencies;
} seen;

/* Handles that are no viewers. */
static char feed_handle, input_handle;

static void watch_fd(int fd, uint32_t events, void *handle, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = handle};
    if (epoll_ctl(epoll, operation, fd, &event))
        die("epoll_ctl");
}

static void forget(struct viewer *viewer) {
    if (viewer->state == CLOSED)
        return;
    if (viewer->state < OPEN)
        seen.failed++;
    else
        gone_count++;
    close(viewer->fd);
    free(viewer->rest);
    free(viewer->text);
    viewer->rest = viewer->text = NULL;
    viewer->state = CLOSED;
}

/* A frame of a few bytes: where the socket takes none, the server is not reading, and is lost. */
static void say(struct viewer *viewer, enum opcode opcode, const void *payload, size_t size) {
    uint8_t frame[4096];
    if (size > sizeof frame - 14)
        return;
    size_t header = put_header(frame, opcode, size, 1);
    memcpy(frame + header, payload, size);
    if (write(viewer->fd, frame, header + size) < 0 && errno != EAGAIN)
        forget(viewer);
}

/* What was said once the connection is open. */
static void opened(struct viewer *viewer) {
    viewer->state = OPEN;
    open_count++;
    if (dialect != NATS)
        return;
    char lines[4096];
    int size = sprintf(lines, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    unsigned count = each_topics ? each_topics : 1;
    for (unsigned i = 0; i < count; i++)
        size += sprintf(lines + size, "SUB t.%u %u\r\n", viewer->number * each_topics + i, i + 1);
    say(viewer, TEXT, lines, (size_t)size);
}

static void ask(struct viewer *viewer) {
    char path[2048], request[2560];
    unsigned first = viewer->number * each_topics, count = each_topics ? each_topics : 1;
    int size = 0;
    if (dialect == PLAIN) {
        sprintf(path, "/t/%u+%u", first, count);
    } else if (dialect == PRODUCT && !each_topics) {
        sprintf(path, "/v1/status?watch=*");
    } else if (dialect == PRODUCT) {
        size = sprintf(path, "/v1/status");
        for (unsigned i = 0; i < count; i++)
            size += sprintf(path + size, "%cwatch=instance:i-%017x", i ? '&' : '?', first + i);
    } else if (dialect == NCHAN) {
        size = sprintf(path, "/sub/%u", first);
        for (unsigned i = 1; i < count; i++)
            size += sprintf(path + size, ",%u", first + i);
    } else {
        sprintf(path, "/");
    }
    size = sprintf(request,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                   "Sec-WebSocket-Version: 13\r\n\r\n",
                   path);
    if (write(viewer->fd, request, (size_t)size) != size)
        forget(viewer);
    else
        viewer->state = SHAKING;
}

static void begin(void) {
    while (begun < wanted && begun - open_count - seen.failed < ABREAST) {
        struct viewer *viewer = &viewers[begun];
        struct sockaddr_in source = loopback(2 + begun % SOURCES, 0);
        int one = 1;
        *viewer = (struct viewer){.number = begun++};
        viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (viewer->fd < 0)
            die("socket");
        setsockopt(viewer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(viewer->fd, (struct sockaddr *)&source, sizeof source))
            die("bind");
        send_at_once(viewer->fd);
        if (connect(viewer->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
            forget(viewer);
        else
            watch_fd(viewer->fd, EPOLLIN | EPOLLOUT, viewer, EPOLL_CTL_ADD);
    }
}

/* A status event: its moment stands near its end. */
static void take_status(const uint8_t *payload, size_t size, uint64_t now) {
    static const char head[] = "{\"op\":\"status\"", mark[] = "\"at\":";
    if (size < 100 || memcmp(payload, head, sizeof head - 1)) {
        seen.others++;
        return;
    }
    for (const uint8_t *p = payload + size - 16; p > payload + size - 80; p--) {
        if (*p == '"' && !memcmp(p, mark, sizeof mark - 1)) {
            uint64_t at = strtoull((const char *)p + sizeof mark - 1, NULL, 10);
            seen.deliveries++;
            seen.last_ns = now;
            histogram_add(&seen.latencies, now > at ? now - at : 0);
            return;
        }
    }
    seen.others++;
}

static void keep(uint8_t **rest, size_t *rest_size, const uint8_t *bytes, size_t size) {
    if (size) {
        *rest = grown(*rest, size);
        memmove(*rest, bytes, size);
    } else if (*rest) {
        free(*rest);
        *rest = NULL;
    }
    *rest_size = size;
}

/* NATS' own protocol, which does not care where frames end: `MSG subject sid size`, and PING. */
static void take_nats(struct viewer *viewer, const uint8_t *payload, size_t size, uint64_t now) {
    if (viewer->text_size + size > READ_BYTES)
        die("a NATS message too long");
    memcpy(text, viewer->text, viewer->text_size);
    memcpy(text + viewer->text_size, payload, size);
    uint8_t *at = text, *end = text + viewer->text_size + size, *line_end;
    while ((line_end = memchr(at, '\n', (size_t)(end - at)))) {
        uint8_t *next = line_end + 1;
        if (!memcmp(at, "MSG ", 4)) {
            uint8_t *digits = line_end - 1; /* the \r */
            while (digits[-1] != ' ')
                digits--;
            size_t length = strtoul((const char *)digits, NULL, 10);
            if ((size_t)(end - next) < length + 2)
                break;
            take_status(next, length, now);
            next += length + 2;
        } else if (!memcmp(at, "PING", 4)) {
            say(viewer, TEXT, "PONG\r\n", 6);
        }
        at = next;
    }
    keep(&viewer->text, &viewer->text_size, at, (size_t)(end - at));
}

static void take_frame(struct viewer *viewer, const struct frame *frame, const uint8_t *payload,
                       uint64_t now) {
    switch (frame->opcode) {
    case PING:
        seen.pings++;
        say(viewer, PONG, payload, frame->payload);
        break;
    case CLOSE: {
        unsigned code = frame->payload >= 2 ? payload[0] << 8 | payload[1] : 0;
        seen.closes[code < 5000 ? code : 0]++;
        say(viewer, CLOSE, payload, frame->payload);
        if (viewer->state == OPEN)
            viewer->state = CLOSING;
        break;
    }
    case PONG:
        break;
    default:
        if (dialect == NATS)
            take_nats(viewer, payload, frame->payload, now);
        else
            take_status(payload, frame->payload, now);
    }
}

static void take(struct viewer *viewer, uint8_t *bytes, size_t size, uint64_t now) {
    struct frame frame;
    if (viewer->skip) {
        size_t skipped = viewer->skip < size ? viewer->skip : size;
        viewer->skip -= skipped;
        bytes += skipped;
        size -= skipped;
    }
    while (viewer->state >= OPEN && viewer->state < CLOSED && frame_header(bytes, size, &frame)) {
        size_t whole = frame.header + frame.payload;
        if (whole > size) {
            if (whole > KEEP_BYTES && dialect != NATS) {
                seen.others++;
                viewer->skip = whole - size;
                size = 0;
            }
            break;
        }
        take_frame(viewer, &frame, bytes + frame.header, now);
        bytes += whole;
        size -= whole;
    }
    if (viewer->state < CLOSED)
        keep(&viewer->rest, &viewer->rest_size, bytes, size);
}

static void shake(struct viewer *viewer, uint8_t *bytes, size_t size, uint64_t now) {
    uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!end) {
        keep(&viewer->rest, &viewer->rest_size, bytes, size);
    } else if (size < 13 || memcmp(bytes + 9, "101", 3) ||
               !memmem(bytes, (size_t)(end - bytes), ACCEPT, sizeof ACCEPT - 1)) {
        forget(viewer);
    } else {
        opened(viewer);
        take(viewer, end + 4, (size_t)(bytes + size - end - 4), now);
    }
}

static void serve(struct viewer *viewer, uint32_t events) {
    if (viewer->state == CLOSED)
        return;
    if (viewer->state == CONNECTING && events & EPOLLOUT) {
        watch_fd(viewer->fd, EPOLLIN, viewer, EPOLL_CTL_MOD);
        ask(viewer);
        return;
    }
    memcpy(buffer, viewer->rest, viewer->rest_size);
    ssize_t got = read(viewer->fd, buffer + viewer->rest_size, READ_BYTES - viewer->rest_size);
    if (got <= 0) {
        if (!got || errno != EAGAIN)
            forget(viewer);
        return;
    }
    seen.reads++;
    seen.bytes += (uint64_t)got;
    uint64_t now = now_ns();
    if (viewer->state == SHAKING)
        shake(viewer, buffer, viewer->rest_size + (size_t)got, now);
    else
        take(viewer, buffer, viewer->rest_size + (size_t)got, now);
}

/* The play, where there is one. */

static struct {
    int is_on;
    double rate;
    uint64_t most, fanout;
    uint64_t began_ns, ends_ns;
    uint64_t late_ns; /* the most that a due event was made too late */
} play;

static void feed_turn(void) {
    if (!play.is_on || feed.is_blocked || (play.rate <= 0 && !play.most))
        return;
    uint64_t now = now_ns();
    if (now >= play.ends_ns)
        return;
    uint64_t due;
    if (play.rate > 0)
        due = 1 + (uint64_t)((double)(now - play.began_ns) * play.rate / 1e9);
    else
        due = play.most + seen.deliveries / play.fanout;
    if (play.rate > 0 && due > feed.made) {
        uint64_t due_at = play.began_ns + (uint64_t)((double)feed.made * 1e9 / play.rate);
        if (now > due_at && now - due_at > play.late_ns)
            play.late_ns = now - due_at;
    }
    while (feed.made < due && feed_has_room(&feed))
        make_event(&feed);
    send_feed(&feed);
    if (feed.is_blocked)
        watch_fd(feed.fd, EPOLLIN | EPOLLOUT, &feed_handle, EPOLL_CTL_MOD);
}

static void serve_feed(uint32_t events) {
    char answers[64 * 1024];
    if (events & EPOLLIN) { /* HTTP's answers, NATS' greetings and pings */
        ssize_t got = read(feed.fd, answers, sizeof answers);
        if (!got)
            die("the server closed its feed");
        if (got > 0 && dialect == NATS && memmem(answers, (size_t)got, "PING\r\n", 6) &&
            write(feed.fd, "PONG\r\n", 6) < 0)
            die("PONG");
    }
    if (events & EPOLLOUT) {
        send_feed(&feed);
        if (!feed.is_blocked)
            watch_fd(feed.fd, EPOLLIN, &feed_handle, EPOLL_CTL_MOD);
    }
}

/* Until the next event is due, 50 ms at most. */
static struct timespec until_due(void) {
    uint64_t wait_ns = 50000000;
    if (play.is_on && play.rate > 0) {
        uint64_t now = now_ns();
        uint64_t due = play.began_ns + (uint64_t)((double)feed.made * 1e9 / play.rate);
        uint64_t least = feed.is_blocked || play.rate > 1e9 / TICK_NS ? TICK_NS : 0;
        uint64_t wanted_ns = due > now + least ? due - now : least;
        wait_ns = wanted_ns < wait_ns ? wanted_ns : wait_ns;
    }
    return (struct timespec){.tv_nsec = (long)wait_ns};
}

/* Serve what there is; true where one is a command. */
static int turn(void) {
    struct epoll_event events[512];
    struct timespec pause = until_due();
    int is_command = 0;
    int count = epoll_pwait2(epoll, events, 512, &pause, NULL);
    for (int i = 0; i < count; i++) {
        void *handle = events[i].data.ptr;
        if (handle == &input_handle)
            is_command = 1;
        else if (handle == &feed_handle)
            serve_feed(events[i].events);
        else
            serve(handle, events[i].events);
        if (i % AT_ONCE == AT_ONCE - 1)
            feed_turn();
    }
    feed_turn();
    return is_command;
}

/* Commands. */

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void do_connect(unsigned port, unsigned count, unsigned each) {
    uint64_t began_ns = now_ns();
    server = loopback(1, port);
    wanted = count;
    each_topics = each;
    viewers = grown(NULL, count * sizeof *viewers);
    seen.failed = begun = open_count = gone_count = 0;
    while (open_count + seen.failed < wanted) {
        begin();
        turn();
    }
    printf("{\"connected\":%u,\"failed\":%llu,\"seconds\":%.4f}\n", open_count,
           (unsigned long long)seen.failed, (double)(now_ns() - began_ns) / 1e9);
}

static void do_feed(unsigned port) {
    struct sockaddr_in address = loopback(1, port);
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    feed.fd = socket(AF_INET, SOCK_STREAM, 0);
    feed.dialect = dialect;
    if (feed.fd < 0 || connect(feed.fd, (struct sockaddr *)&address, sizeof address))
        die("connect the feed");
    send_at_once(feed.fd);
    if (dialect == NATS && write(feed.fd, hello, sizeof hello - 1) < 0)
        die("greet");
    fcntl(feed.fd, F_SETFL, O_NONBLOCK);
    watch_fd(feed.fd, EPOLLIN, &feed_handle, EPOLL_CTL_ADD);
    printf("{}\n");
}

/* Whether nothing more is to come: all is here, or what is missing is lost. */
static int is_over(uint64_t now) {
    if (now < play.ends_ns)
        return 0;
    if (seen.deliveries >= feed.made * play.fanout)
        return 1;
    uint64_t since = seen.last_ns > play.ends_ns ? seen.last_ns : play.ends_ns;
    return now > since + STALL_NS;
}

static void do_play(double seconds, double rate, unsigned most, unsigned fanout, unsigned topics,
                    unsigned first) {
    double used_s = cpu_s();
    seen.deliveries = seen.bytes = seen.reads = seen.others = 0;
    histogram_clear(&seen.latencies);
    feed.play++;
    feed.made = 0;
    feed.topics = topics;
    feed.first_topic = first;
    play.rate = rate;
    play.most = most;
    play.fanout = fanout;
    play.late_ns = 0;
    play.began_ns = seen.last_ns = now_ns();
    play.ends_ns = play.began_ns + (uint64_t)(seconds * 1e9);
    play.is_on = 1;
    while (!is_over(now_ns()))
        turn();
    play.is_on = 0;
    uint64_t until = seen.last_ns > play.ends_ns ? seen.last_ns : play.ends_ns;
    struct histogram *h = &seen.latencies;
    printf("{\"events\":%llu,\"deliveries\":%llu,\"lost\":%lld,\"bytes\":%llu,\"reads\":%llu,"
           "\"seconds\":%.4f,\"viewers_cpu_s\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"max_us\":%.1f,\"late_us\":%.1f,\"gone\":%u}\n",
           (unsigned long long)feed.made, (unsigned long long)seen.deliveries,
           fanout ? (long long)(feed.made * fanout - seen.deliveries) : 0ll, (unsigned long long)seen.bytes,
           (unsigned long long)seen.reads, (double)(until - play.began_ns) / 1e9, cpu_s() - used_s,
           (double)histogram_at(h, 0.5) / 1e3, (double)histogram_at(h, 0.99) / 1e3,
           (double)histogram_at(h, 0.999) / 1e3, (double)h->max / 1e3, (double)play.late_ns / 1e3,
           gone_count);
}

static void do_wait(double seconds, int until_closed) {
    uint64_t began_ns = now_ns(), ends_ns = began_ns + (uint64_t)(seconds * 1e9);
    seen.pings = 0;
    while (now_ns() < ends_ns && !(until_closed && gone_count == open_count))
        turn();
    printf("{\"seconds\":%.4f,\"pings\":%llu,\"held\":%u,\"gone\":%u,\"closes\":{",
           (double)(now_ns() - began_ns) / 1e9, (unsigned long long)seen.pings,
           open_count - gone_count, gone_count);
    const char *comma = "";
    for (unsigned code = 0; code < 5000; code++) {
        if (seen.closes[code]) {
            printf("%s\"%u\":%llu", comma, code, (unsigned long long)seen.closes[code]);
            comma = ",";
        }
    }
    printf("}}\n");
}

static void do_close(void) {
    for (unsigned i = 0; i < begun; i++)
        forget(&viewers[i]);
    free(viewers);
    viewers = NULL;
    wanted = begun = open_count = 0;
    memset(seen.closes, 0, sizeof seen.closes);
    printf("{}\n");
}

static int obey(const char *line) {
    unsigned a, b, c, d;
    double seconds, rate;
    if (sscanf(line, "connect %u %u %u", &a, &b, &c) == 3)
        do_connect(a, b, c);
    else if (sscanf(line, "feed %u", &a) == 1)
        do_feed(a);
    else if (sscanf(line, "play %lf %lf %u %u %u %u", &seconds, &rate, &a, &b, &c, &d) == 6)
        do_play(seconds, rate, a, b, c, d);
    else if (sscanf(line, "wait %lf", &seconds) == 1)
        do_wait(seconds, 0);
    else if (sscanf(line, "closed %lf", &seconds) == 1)
        do_wait(seconds, 1);
    else if (!strcmp(line, "close\n"))
        do_close();
    else
        return 0;
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv) {
    static const char *names[] = {"plain", "product", "nats", "nchan"};
    char line[256];
    int known = -1;
    for (int i = 0; i < 4; i++)
        if (argc == 2 && !strcmp(argv[1], names[i]))
            known = i;
    if (known < 0) {
        fprintf(stderr, "usage: viewers plain|product|nats|nchan\n");
        return 2;
    }
    dialect = (enum dialect)known;
    epoll = epoll_create1(0);
    buffer = grown(NULL, READ_BYTES + KEEP_BYTES);
    text = grown(NULL, READ_BYTES);
    watch_fd(0, EPOLLIN, &input_handle, EPOLL_CTL_ADD);
    for (;;) {
        if (turn()) {
            if (!fgets(line, sizeof line, stdin))
                return 0;
            if (!obey(line)) {
                fprintf(stderr, "what is: %s", line);
                return 2;
            }
        }
    }
}
