/* The files of a home that people edit or disks damage: up to the first 0xfe the config, behind it the control log. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "node/config.h"
#include "store/control.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_config(const uint8_t *data, size_t size)
{
    struct config c;
    if (config_load(file_of("home", data, size), &c) < 0)
        return;
    assert(c.folder);
    for (const struct config_key *k = config_keys; k->key; k++) {
        int r = config_check(k, config_text(&c, k));
        assert(r == 0);
    }
    config_release(&c);
}

static void read_control(const uint8_t *data, size_t size)
{
    struct control *c;
    struct bytes blob;
    if (control_open(file_of("home", data, size), &c) < 0)
        return;
    int r = control_record(c, control_group(c)->ctl_n, &blob);
    assert(r == 0 && blob.len > 0);
    control_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size ? memchr(data, 0xfe, size) : NULL;
    size_t n = cut ? (size_t)(cut - data) : size;
    read_config(data, n);
    if (cut)
        read_control(cut + 1, size - n - 1);
    return 0;
}
