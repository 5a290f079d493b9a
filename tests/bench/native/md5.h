/* MD5 of one short text, as hexadecimal (RFC 1321): the SDK for JavaScript compares MD5OfBody. */

#include <math.h>
#include <stdint.h>
#include <string.h>

static uint32_t md5_sines[64];

static void md5_prepare(void) {
    for (int i = 0; i < 64; i++) md5_sines[i] = (uint32_t)(fabs(sin(i + 1)) * 4294967296.0);
}

static uint32_t md5_rotate(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

static void md5_block(uint32_t state[4], const unsigned char *block) {
    static const unsigned char shifts[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(words, block, 64); /* little-endian, as everything that runs this is */
    for (int i = 0; i < 64; i++) {
        uint32_t mixed;
        int word;
        switch (i / 16) {
        case 0: mixed = (b & c) | (~b & d), word = i; break;
        case 1: mixed = (d & b) | (~d & c), word = (5 * i + 1) % 16; break;
        case 2: mixed = b ^ c ^ d, word = (3 * i + 5) % 16; break;
        default: mixed = c ^ (b | ~d), word = (7 * i) % 16;
        }
        mixed += a + md5_sines[i] + words[word];
        a = d, d = c, c = b;
        b += md5_rotate(mixed, shifts[i / 16][i % 4]);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

/* `hex` takes 32 characters and no end. */
static void md5_hex(const char *text, size_t length, char *hex) {
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char tail[128] = {0};
    size_t whole = length / 64 * 64, rest = length - whole, padded = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)length * 8;
    for (size_t at = 0; at < whole; at += 64) md5_block(state, (const unsigned char *)text + at);
    memcpy(tail, text + whole, rest);
    tail[rest] = 0x80;
    memcpy(tail + padded - 8, &bits, 8);
    for (size_t at = 0; at < padded; at += 64) md5_block(state, tail + at);
    for (int i = 0; i < 16; i++) {
        unsigned char byte = (unsigned char)(state[i / 4] >> (8 * (i % 4)));
        hex[2 * i] = "0123456789abcdef"[byte >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[byte & 15];
    }
}
