/* Rules of another member, up to the first 0xfe, and a path behind it: never a read outside, always an end, and the walk from the
 * top agrees with the look at a whole path. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "store/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size ? memchr(data, 0xfe, size) : NULL;
    if (!cut)
        return 0;
    const char *rules = (const char *)data, *path = (const char *)cut + 1;
    size_t nrules = (size_t)(cut - data), len = size - nrules - 1;
    struct ignore *ig = ignore_new();
    if (ignore_load(ig, rules, nrules, "rules") == 0) {
        bool self = ignore_match(ig, path, len, false), parent = false;
        for (size_t i = 1; i < len && !parent; i++)
            parent = path[i] == '/' && ignore_match(ig, path, i, true);
        assert(ignore_match_deep(ig, path, len, false) == (parent || self));

        struct ignore *none = ignore_new();
        int rc = ignore_load(none, rules, nrules, "rules");
        rc = rc < 0 ? rc : ignore_load(none, "\n!**", 4, "again");
        assert(rc < 0 || !ignore_match_deep(none, path, len, false));
        ignore_free(&none);
    }
    ignore_free(&ig);
    return 0;
}
