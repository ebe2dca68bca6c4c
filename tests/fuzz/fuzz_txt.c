/* The TXT record of a service, which anybody on the network can send, as it comes in a DNS message. What is accepted must be what
 * txt_make would say, and be read as the same again. */
#include <assert.h>
#include <avahi-common/malloc.h>
#include <stdint.h>
#include <string.h>

#include "discovery/txt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AvahiStringList *list = NULL, *again;
    struct txt t, same;
    if (avahi_string_list_parse(data, size, &list) < 0)
        return 0;
    if (txt_read(list, &t) == 0) {
        assert(t.pub_port > 0 && strlen(t.tag) <= TAG_TEXT - 1);
        assert(!t.hint[0] || hint_is_valid(t.hint));
        again = txt_make(&t);
        int r = txt_read(again, &same);
        assert(r == 0 && txt_same(&t, &same));
        avahi_string_list_free(again);
    }
    avahi_string_list_free(list);
    return 0;
}
