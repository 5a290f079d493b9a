/* SQS as a client sees it, fast enough never to be what limits: one thread, one core.
 *
 * Speaks HTTP/1.1 with keep-alive and SQS' AWS JSON 1.0 protocol: ReceiveMessage, DeleteMessage,
 * DeleteMessageBatch, ChangeMessageVisibility(Batch), GetQueueAttributes. The queue whose name ends
 * with .fifo has the events; every other one is empty. EC2 has no instances, anything else is
 * refused. No signature is checked, nothing is handed out twice and no message group held back:
 * with more executions than messages in hand, a group never waits for itself anyway.
 *
 *   mock_sqs [--port N] [--rate max|N] [--delay-ms N] [--messages N] [--keys N] [--instances N]
 *            [--steps N]
 *
 * prints its port as JSON. `detail.at` of each event is CLOCK_MONOTONIC when its answer was written.
 * GET /counts tells what was done; GET /pace?rate=max|N begins another rate, 0 being none.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "md5.h"
#include "status_event.h"

#define MAX_BATCH 10
#define MAX_REQUEST_BYTES 65536  /* a batch of ten receipt handles is some 3 kB */
#define MAX_ANSWER_BYTES 65536   /* ten messages are some 14 kB */
#define HEAD_BYTES 512           /* kept free before a body whose length is not known yet */
#define TICK_NS 1000000          /* events at a fixed rate come due a millisecond's worth at once */
#define HANDLE_FILL "mockmockmockmockmockmockmockmockmockmockmockmockmockmockmockmockmockmock"
#define HANDLE_BYTES 200         /* of the order of SQS' own */

enum state { IDLE, DELAYED, WAITING, BROKEN };
enum question { RECEIVE, CALL, CONTROL };

struct connection {
    int fd;
    enum state state;
    enum question question;
    uint64_t until_ns;               /* DELAYED: when it is answered; WAITING: empty by then */
    struct connection *before, *after; /* in the line that its state stands for */
    int is_fifo, wants, wants_attributes, wait_s;
    size_t read, begun, written;     /* bytes: of requests; of the answer, where it is and sent */
    size_t length;
    char in[MAX_REQUEST_BYTES + 1], out[MAX_ANSWER_BYTES];
};

struct line {
    struct connection *first, *last;
};

static struct {
    struct shape shape;
    uint64_t delay_ns, messages;
    double rate; /* events per second; below 0: as many as are asked for */
} options = {{1000, 100, 0, 0}, 0, UINT64_MAX, -1};

static struct {
    uint64_t receives, empty, deletes, received, deleted, again, released, others;
} counts;

static struct line delayed, waiting;
static uint64_t pace_began_ns, pace_received; /* since the rate was set */
static unsigned char *gone;                   /* a bit for each message that was deleted */
static uint64_t gone_bytes;
static int poller;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put_in(struct line *line, struct connection *one) {
    one->before = line->last, one->after = NULL;
    *(line->last ? &line->last->after : &line->first) = one;
    line->last = one;
}

static void take_out(struct line *line, struct connection *one) {
    *(one->before ? &one->before->after : &line->first) = one->after;
    *(one->after ? &one->after->before : &line->last) = one->before;
}

static void leave_line(struct connection *one) {
    if (one->state == DELAYED) take_out(&delayed, one);
    if (one->state == WAITING) take_out(&waiting, one);
}

/* Messages. */

static uint64_t due(uint64_t now_ns) {
    if (options.rate < 0) return UINT64_MAX;
    return (uint64_t)((double)(now_ns - pace_began_ns) / 1e9 * options.rate);
}

static uint64_t available(const struct connection *one, uint64_t now_ns) {
    uint64_t left = options.messages - counts.received, ready = due(now_ns);
    if (!one->is_fifo) return 0;
    ready = ready > pace_received ? ready - pace_received : 0;
    return left < ready ? left : ready;
}

static void mark_deleted(uint64_t number) {
    if (number / 8 >= gone_bytes) {
        uint64_t bytes = number / 8 * 2 + 4096;
        gone = realloc(gone, bytes);
        if (!gone) abort();
        memset(gone + gone_bytes, 0, bytes - gone_bytes);
        gone_bytes = bytes;
    }
    if (gone[number / 8] >> number % 8 & 1) {
        counts.again++;
    } else {
        gone[number / 8] |= (unsigned char)(1 << number % 8);
        counts.deleted++;
    }
}

static char *write_message(char *to, const struct connection *one, uint64_t now_ns,
                           uint64_t wall_ms) {
    char body[MAX_BODY_BYTES], digest[32];
    uint64_t number = counts.received++;
    size_t length = write_event(body, &options.shape, number, now_ns, wall_ms);
    md5_hex(body, length, digest);
    to += sprintf(to,
                  "{\"MessageId\":\"%08lx-0000-4000-8000-%012lx\",\"ReceiptHandle\":\"AQEB%016lx%.*s"
                  "\",\"MD5OfBody\":\"%.32s\",\"Body\":\"",
                  options.shape.run, number, number, HANDLE_BYTES - 20,
                  HANDLE_FILL HANDLE_FILL HANDLE_FILL, digest);
    for (size_t i = 0; i < length; i++) {
        if (body[i] == '"' || body[i] == '\\') *to++ = '\\';
        *to++ = body[i];
    }
    *to++ = '"';
    if (one->wants_attributes)
        to += sprintf(to,
                      ",\"Attributes\":{\"ApproximateReceiveCount\":\"1\",\"SentTimestamp\":\"%lu\","
                      "\"MessageGroupId\":\"run-%08lx-%07lx\"}",
                      wall_ms, options.shape.run, number % options.shape.keys);
    *to++ = '}';
    return to;
}

/* Answers. */

/* Put the head before a body that ends at `end`. */
static void finish(struct connection *one, const char *status, const char *type, char *end) {
    static uint64_t request;
    char *body = one->out + HEAD_BYTES, head[HEAD_BYTES], date[40];
    time_t now = time(NULL);
    struct tm parts;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %s\r\nx-amzn-RequestId: %08lx-0000-4000-8000-%012lx\r\n"
                          "Date: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                          "Connection: keep-alive\r\n\r\n",
                          status, options.shape.run, ++request, date, type, (size_t)(end - body));
    one->begun = HEAD_BYTES - (size_t)length;
    memcpy(one->out + one->begun, head, (size_t)length);
    one->written = one->begun;
    one->length = (size_t)(end - one->out);
}

static void finish_json(struct connection *one, char *end) {
    finish(one, "200 OK", "application/x-amz-json-1.0", end);
}

static void write_received(struct connection *one, uint64_t number, uint64_t now_ns) {
    char *to = one->out + HEAD_BYTES;
    uint64_t wall_ms = clock_ns(CLOCK_REALTIME) / 1000000;
    counts.receives++;
    counts.empty += !number;
    pace_received += number;
    to += sprintf(to, number ? "{\"Messages\":[" : "{");
    for (uint64_t i = 0; i < number; i++) {
        if (i) *to++ = ',';
        to = write_message(to, one, now_ns, wall_ms);
    }
    to += sprintf(to, number ? "]}" : "}");
    finish_json(one, to);
}

static const char *value_of(const char *from, const char *name) {
    const char *found = strstr(from, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " :\"") : NULL;
}

/* The batch calls: each entry's Id comes back; deletes are told from `"ReceiptHandle"`. */
static void write_batch(struct connection *one, const char *body, int deletes) {
    char *to = one->out + HEAD_BYTES;
    const char *at = body;
    int entries = 0;
    to += sprintf(to, "{\"Failed\":[],\"Successful\":[");
    for (; (at = value_of(at, "\"Id\"")) && entries < MAX_BATCH; entries++)
        to += sprintf(to, "%s{\"Id\":\"%.*s\"}", entries ? "," : "", (int)strcspn(at, "\""), at);
    to += sprintf(to, "]}");
    for (at = body; (at = value_of(at, "\"ReceiptHandle\""));) {
        if (deletes) mark_deleted(strtoull(at + 4, NULL, 16) /* after AQEB */);
        else counts.released++;
    }
    finish_json(one, to);
}

static uint64_t own_cpu_us(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void write_counts(struct connection *one) {
    char *to = one->out + HEAD_BYTES;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    to += sprintf(to,
                  "{\"at_ns\":%lu,\"receives\":%lu,\"empty\":%lu,\"deletes\":%lu,\"received\":%lu,"
                  "\"deleted\":%lu,\"deleted_again\":%lu,\"visibility_changes\":%lu,\"others\":%lu,"
                  "\"due\":%ld,\"cpu_us\":%lu}",
                  now_ns, counts.receives, counts.empty, counts.deletes, counts.received,
                  counts.deleted, counts.again, counts.released, counts.others,
                  options.rate < 0 ? -1 : (long)(due(now_ns) - pace_received), own_cpu_us());
    finish(one, "200 OK", "application/json", to);
}

static void set_pace(const char *rate) {
    options.rate = strncmp(rate, "max", 3) ? atof(rate) : -1;
    pace_began_ns = clock_ns(CLOCK_MONOTONIC), pace_received = 0;
}

/* Requests. */

static void ask(struct connection *one, const char *line, const char *target, char *body) {
    char *to = one->out + HEAD_BYTES;
    one->question = CALL;
    if (!strncmp(line, "GET /pace?rate=", 15)) set_pace(line + 15);
    if (!strncmp(line, "GET /", 5)) {
        one->question = CONTROL;
        write_counts(one);
    } else if (!strcmp(target, "ReceiveMessage")) {
        const char *wants = value_of(body, "\"MaxNumberOfMessages\"");
        const char *wait = value_of(body, "\"WaitTimeSeconds\"");
        one->question = RECEIVE;
        one->is_fifo = strstr(body, ".fifo\"") != NULL;
        one->wants = wants ? atoi(wants) : 1;
        one->wants_attributes = strstr(body, "AttributeNames\"") != NULL;
        one->wait_s = wait ? atoi(wait) : 0;
    } else if (!strcmp(target, "DeleteMessageBatch") || !strcmp(target, "DeleteMessage")) {
        counts.deletes++;
        write_batch(one, body, 1);
    } else if (!strncmp(target, "ChangeMessageVisibility", 23)) {
        write_batch(one, body, 0);
    } else if (!strcmp(target, "GetQueueAttributes")) {
        counts.others++;
        finish_json(one, to + sprintf(to, "{\"Attributes\":{\"ApproximateNumberOfMessages\":\"0\","
                                          "\"ApproximateNumberOfMessagesDelayed\":\"0\","
                                          "\"ApproximateNumberOfMessagesNotVisible\":\"0\"}}"));
    } else if (strstr(body, "Action=DescribeInstances")) {
        counts.others++;
        to += sprintf(to, "<DescribeInstancesResponse "
                          "xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>0"
                          "</requestId><reservationSet/></DescribeInstancesResponse>");
        finish(one, "200 OK", "text/xml;charset=UTF-8", to);
    } else {
        counts.others++;
        to += sprintf(to, "{\"__type\":\"com.amazonaws#%s\",\"message\":\"not in this mock\"}",
                      strcmp(target, "DescribeExecution") ? "UnsupportedOperation"
                                                          : "ExecutionDoesNotExist");
        finish(one, "400 Bad Request", "application/x-amz-json-1.0", to);
    }
}

static void break_off(struct connection *one) {
    leave_line(one);
    one->state = BROKEN;
    shutdown(one->fd, SHUT_RDWR); /* the poller tells, and only there it is freed */
}

static void watch(struct connection *one, uint32_t events) {
    struct epoll_event wanted = {events, {.ptr = one}};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &wanted);
}

/* Send what is left of the answer; whether all of it is away. */
static int push(struct connection *one) {
    while (one->written < one->length) {
        ssize_t sent = send(one->fd, one->out + one->written, one->length - one->written,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            watch(one, EPOLLIN | EPOLLOUT);
            return 0;
        }
        if (sent < 0) {
            break_off(one);
            return 0;
        }
        one->written += (size_t)sent;
    }
    return 1;
}

/* Answer now, or let a poll wait for messages. */
static void answer(struct connection *one, uint64_t now_ns) {
    if (one->question == RECEIVE) {
        uint64_t number = available(one, now_ns);
        if (!number && one->state != WAITING && one->wait_s) {
            leave_line(one);
            one->state = WAITING;
            one->until_ns = now_ns + (uint64_t)one->wait_s * 1000000000u;
            put_in(&waiting, one);
            return;
        }
        if (number > (uint64_t)one->wants) number = (uint64_t)one->wants;
        write_received(one, number < MAX_BATCH ? number : MAX_BATCH, now_ns);
    }
    leave_line(one);
    one->state = IDLE;
    push(one);
}

/* Take a whole request out of what was read; whether there was one. */
static int take_request(struct connection *one) {
    char *end, *line, *body, target[64] = "", kept;
    size_t length = 0, whole;
    one->in[one->read] = 0;
    if (!(end = strstr(one->in, "\r\n\r\n"))) return 0;
    body = end + 4;
    for (line = strstr(one->in, "\r\n") + 2; line < end; line = strstr(line, "\r\n") + 2) {
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "x-amz-target:", 13)) {
            const char *dot = memchr(line, '.', (size_t)(end - line));
            if (dot) snprintf(target, sizeof target, "%.*s", (int)strcspn(dot + 1, "\r"), dot + 1);
        }
    }
    whole = (size_t)(body - one->in) + length;
    if (whole > one->read) return 0;
    kept = one->in[whole], one->in[whole] = 0;
    ask(one, one->in, target, body);
    one->in[whole] = kept;
    memmove(one->in, one->in + whole, one->read -= whole);
    return 1;
}

static void serve(struct connection *one) {
    while (one->state == IDLE && one->written == one->length && take_request(one)) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        if (options.delay_ns && one->question != CONTROL) {
            one->state = DELAYED, one->until_ns = now_ns + options.delay_ns;
            put_in(&delayed, one);
        } else {
            answer(one, now_ns);
        }
    }
}

/* Sockets and time. */

/* Answer whose time has come; returns how long the poller may sleep. */
static uint64_t serve_due(void) {
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), until_ns = now_ns + 1000000000u;
    struct connection *one;
    while ((one = delayed.first) && one->until_ns <= now_ns) answer(one, now_ns), serve(one);
    if (one && one->until_ns < until_ns) until_ns = one->until_ns;
    while ((one = waiting.first) && available(one, now_ns)) answer(one, now_ns), serve(one);
    for (one = waiting.first; one;) {
        struct connection *next = one->after;
        if (one->is_fifo && options.rate > 0 && until_ns > now_ns + TICK_NS)
            until_ns = now_ns + TICK_NS;
        if (one->until_ns <= now_ns || available(one, now_ns)) answer(one, now_ns), serve(one);
        else if (one->until_ns < until_ns) until_ns = one->until_ns;
        one = next;
    }
    return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void greet(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), yes = 1;
    struct connection *one = fd < 0 ? NULL : calloc(1, sizeof *one);
    struct epoll_event wanted = {EPOLLIN, {.ptr = one}};
    if (!one) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    one->fd = fd;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
}

static void hear(struct connection *one, uint32_t events) {
    if (events & EPOLLOUT && one->state != BROKEN && push(one)) watch(one, EPOLLIN);
    ssize_t got = recv(one->fd, one->in + one->read, MAX_REQUEST_BYTES - one->read, MSG_DONTWAIT);
    if (got > 0 && one->state != BROKEN) {
        one->read += (size_t)got;
    } else if (got >= 0 || errno != EAGAIN) { /* it has gone, or asks for more than we can hold */
        leave_line(one);
        close(one->fd);
        free(one);
        return;
    }
    serve(one);
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) {
        perror("mock_sqs");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("{\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int read_options(int count, char **words) {
    int port = 0;
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--rate")) set_pace(value);
        else if (!strcmp(name, "--delay-ms")) options.delay_ns = (uint64_t)(atof(value) * 1e6);
        else if (!strcmp(name, "--messages")) options.messages = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--keys")) options.shape.keys = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--instances")) options.shape.instances = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--steps")) options.shape.steps = strtoul(value, NULL, 10);
        else fprintf(stderr, "mock_sqs: what is %s?\n", name), exit(2);
    }
    if (!options.shape.keys || !options.shape.instances)
        fprintf(stderr, "mock_sqs: at least one key and one instance\n"), exit(2);
    return port;
}

int main(int count, char **words) {
    options.shape.run = (long)(clock_ns(CLOCK_REALTIME) / 1000000000u);
    set_pace("max");
    md5_prepare();
    int listener = listen_on(read_options(count, words));
    struct epoll_event ready[64], wanted = {EPOLLIN, {.ptr = NULL}};
    poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        uint64_t sleep_ns = serve_due();
        struct timespec most = {(time_t)(sleep_ns / 1000000000u), (long)(sleep_ns % 1000000000u)};
        int number = epoll_pwait2(poller, ready, 64, &most, NULL);
        for (int i = 0; i < number; i++) {
            if (ready[i].data.ptr) hear(ready[i].data.ptr, ready[i].events);
            else greet(listener);
        }
    }
}
