/* The messages: publish steps as the state machine sends them (infra/status-event.schema.json). */

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define MAX_BODY_BYTES 1024

struct shape {
    unsigned long keys;      /* executions at the same time; they take turns */
    unsigned long instances; /* that these are about */
    unsigned long steps;     /* until one has ended and another takes its place; 0: none ends */
    long run;                /* tells one run of the mock from another: a log remembers names */
};

static const char *const step_states[][2] = {{"PublishChecking", "CHECKING"},
                                             {"PublishWaiting", "WAITING"},
                                             {"PublishStarting", "STARTING"},
                                             {"PublishVerifying", "VERIFYING"}};

/* `text` takes 25 characters. */
static void write_time(char *text, uint64_t wall_ms) {
    static char second[32];
    static time_t known = -1;
    time_t now = (time_t)(wall_ms / 1000);
    if (now != known) {
        struct tm parts;
        strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now, &parts));
        known = now;
    }
    snprintf(text, 25, "%.19s.%03uZ", second, (unsigned)(wall_ms % 1000));
}

/* Event `number` of all, which is answered at `at_ns` of the monotonic clock. */
static size_t write_event(char *body, const struct shape *shape, uint64_t number, uint64_t at_ns,
                          uint64_t wall_ms) {
    uint64_t key = number % shape->keys, turn = number / shape->keys, seq = turn + 1, life = 0;
    const char *const *state = step_states[turn % 4];
    int is_last = 0;
    char time[25];
    if (shape->steps) {
        static const char *const ending[2] = {"PublishSucceeded", "SUCCEEDED"};
        life = turn / shape->steps, seq = turn % shape->steps + 1;
        is_last = seq == shape->steps;
        state = is_last ? ending : step_states[(seq - 1) % 4];
    }
    write_time(time, wall_ms);
    return (size_t)snprintf(
        body, MAX_BODY_BYTES,
        "{\"v\":1,\"id\":\"arn:aws:states:us-east-1:000000000000:execution:standard:"
        "run-%08lx-%04lx-%07lx#0#%lu\",\"source\":\"workflow\",\"instance_id\":\"i-%017lx\","
        "\"execution\":{\"arn\":\"arn:aws:states:us-east-1:000000000000:execution:standard:"
        "run-%08lx-%04lx-%07lx\",\"name\":\"run-%08lx-%04lx-%07lx\",\"machine\":\"standard\","
        "\"seq\":%lu,\"redrive\":0},\"state\":\"%s\",\"status\":\"%s\",\"time\":\"%s\","
        "\"terminal\":%s,\"reason\":null,\"detail\":{\"action\":\"toggle\",\"at\":%lu}}",
        shape->run, life, key, seq, key % shape->instances, shape->run, life, key, shape->run,
        life, key, seq, state[0], state[1], time, is_last ? "true" : "false", at_ns);
}
