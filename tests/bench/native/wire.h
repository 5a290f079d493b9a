/* What both sides of the wire need: the clock, sockets, WebSocket frames (RFC 6455, section 5.2). */

#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* The example of RFC 6455, section 1.3. All viewers offer this key, so that a server without SHA-1
 * can answer it: what a handshake costs is asked of real servers. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct frame {
    enum opcode opcode;
    int is_masked;
    size_t header; /* bytes before the payload, the mask included */
    size_t payload;
};

/* Whether the bytes hold a whole header. */
static inline int frame_header(const uint8_t *bytes, size_t size, struct frame *frame) {
    if (size < 2)
        return 0;
    frame->opcode = bytes[0] & 15;
    frame->is_masked = bytes[1] >> 7;
    frame->payload = bytes[1] & 127;
    frame->header = 2;
    if (frame->payload == 126) {
        if (size < 4)
            return 0;
        frame->payload = (size_t)bytes[2] << 8 | bytes[3];
        frame->header = 4;
    } else if (frame->payload == 127) {
        if (size < 10)
            return 0;
        frame->payload = 0;
        for (int i = 2; i < 10; i++)
            frame->payload = frame->payload << 8 | bytes[i];
        frame->header = 10;
    }
    frame->header += frame->is_masked ? 4 : 0;
    return 1;
}

/* Writes a header without a mask of our own choice; returns its size, 14 at most. A client must
 * mask (section 5.3); with a key of zeros the payload stays as it is. */
static inline size_t put_header(uint8_t *out, enum opcode opcode, size_t payload, int is_masked) {
    size_t size = 2;
    out[0] = (uint8_t)(0x80 | opcode);
    if (payload < 126) {
        out[1] = (uint8_t)payload;
    } else {
        out[1] = 126;
        out[2] = (uint8_t)(payload >> 8);
        out[3] = (uint8_t)payload;
        size = 4;
    }
    if (is_masked) {
        out[1] |= 0x80;
        memset(out + size, 0, 4);
        size += 4;
    }
    return size;
}

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void *grown(void *old, size_t size) {
    void *found = realloc(old, size);
    if (!found)
        die("realloc");
    return found;
}

static inline struct sockaddr_in loopback(unsigned host, unsigned port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(0x7f000000u + host);
    return address;
}

/* A listening socket on a free port of 127.0.0.1, which is written to `port`. */
static inline int listen_on_loopback(unsigned *port) {
    struct sockaddr_in address = loopback(1, 0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        die("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void send_at_once(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

#endif
