#include "proto/msg.h"

#include <string.h>

#define HELLO_CONTEXT "lanyard-hello-1"

/* What is signed: group | dev | tr_pk | nonce, and the caller's dev | tr_pk | nonce. Returns the length. */
static size_t hello_signed(uint8_t out[7 * 32], const struct id *group, const struct hello_party *self,
                           const struct hello_party *caller)
{
    const uint8_t *part[7] = { group->b, self->dev.b, self->tr_pk, self->nonce };
    size_t n = 4;
    if (caller) {
        part[n++] = caller->dev.b;
        part[n++] = caller->tr_pk;
        part[n++] = caller->nonce;
    }
    for (size_t i = 0; i < n; i++)
        memcpy(out + 32 * i, part[i], 32);
    return 32 * n;
}

void hello_sign(uint8_t sig[static SIG_LEN], const struct id *group, const struct hello_party *self,
                const struct hello_party *caller, const struct device_keys *k)
{
    uint8_t text[7 * 32];
    keys_sign(sig, HELLO_CONTEXT, text, hello_signed(text, group, self, caller), k);
}

int hello_verify(const uint8_t sig[static SIG_LEN], const struct id *group, const struct hello_party *sender,
                 const struct hello_party *caller)
{
    uint8_t text[7 * 32];
    return keys_verify(sig, HELLO_CONTEXT, text, hello_signed(text, group, sender, caller), &sender->dev);
}
