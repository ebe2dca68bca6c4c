/* What is the same in both backends. */
#include <avahi-common/error.h>
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

/* A call that got no answer of the daemon would be followed by others that wait as long: be done with such a one. */
static int failed(struct backend *b, const char *what)
{
    b->error = b->ops->error(b);
    if (b->error == AVAHI_ERR_DBUS_ERROR || b->error == AVAHI_ERR_TIMEOUT || b->error == AVAHI_ERR_DISCONNECTED)
        b->state = BACKEND_DOWN;
    return err_set(ERR_IO, "%s: %s: %s", b->ops->name, what, avahi_strerror(b->error));
}

/* ---- browsing and resolving ---- */

int backend_browse(struct backend *b)
{
    b->browser = b->ops->browser_new(b);
    return b->browser ? 0 : failed(b, "cannot browse");
}

void backend_on_browse(struct backend *b, AvahiBrowserEvent event, const char *instance, struct where w)
{
    if (event == AVAHI_BROWSER_NEW) {
        discovery_on_seen(b->owner, instance, w);
    } else if (event == AVAHI_BROWSER_REMOVE) {
        discovery_on_gone(b->owner, instance, w);
    } else if (event == AVAHI_BROWSER_FAILURE) {
        b->error = b->ops->error(b);
        b->state = BACKEND_DOWN;
    }
}

void *backend_resolve(struct backend *b, const char *instance, struct where w)
{
    void *resolver = b->ops->resolver_new(b, instance, w);
    if (!resolver)
        (void)failed(b, "cannot resolve");
    return resolver;
}

void backend_on_resolve(struct backend *b, AvahiResolverEvent event, const char *instance, struct where w, const AvahiAddress *a,
                        uint16_t port, AvahiStringList *txt)
{
    if (event == AVAHI_RESOLVER_FOUND && a)
        discovery_on_resolved(b->owner, instance, w, a, port, txt);
    else
        discovery_on_unresolved(b->owner, instance, w);
}

/* ---- publishing ---- */

int backend_publish(struct backend *b, const struct publication *p)
{
    b->group = b->ops->group_new(b);
    if (!b->group)
        return failed(b, "cannot publish");
    AvahiStringList *txt = txt_make(p->txt);
    int rc = 0;
    for (int i = 0; i < p->nifaces && rc == 0; i++)
        rc = b->ops->group_add(b, p, p->iface[i], txt);
    avahi_string_list_free(txt);
    if (rc == 0)
        rc = b->ops->group_commit(b);
    return rc == 0 ? 0 : failed(b, "cannot publish");
}

int backend_update(struct backend *b, const struct publication *p)
{
    AvahiStringList *txt = txt_make(p->txt);
    int rc = 0;
    for (int i = 0; i < p->nifaces && rc == 0; i++)
        rc = b->ops->group_update(b, p, p->iface[i], txt);
    avahi_string_list_free(txt);
    return rc == 0 ? 0 : failed(b, "cannot change the TXT record");
}

void backend_withdraw(struct backend *b)
{
    if (b->group)
        b->ops->group_free(b);
    b->group = NULL;
}
