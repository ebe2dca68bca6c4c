#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/backend.h"

int backend_load(struct backend *b, const char *soname, const char *const *names, size_t n)
{
    if (b->calls)
        return 0;
    if (dlsym(RTLD_DEFAULT, "avahi_entry_group_free"))
        return err_set(ERR_IO, "this program was linked with %s, which must only be loaded", soname);
    void *lib = dlopen(soname, RTLD_NOW | RTLD_LOCAL);      /* for good: it may have left threads and handlers behind */
    if (!lib)
        return err_set(ERR_IO, "%s", dlerror());
    void **calls = xcalloc(n, sizeof *calls);
    for (size_t i = 0; i < n; i++) {
        calls[i] = dlsym(lib, names[i]);
        if (!calls[i]) {
            free(calls);
            return err_set(ERR_IO, "%s has no %s", soname, names[i]);
        }
    }
    b->calls = calls;
    return 0;
}
