#include "node/notify.h"

#include <dbus/dbus.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/buf.h"
#include "proto/limits.h"

#define SERVICE "org.freedesktop.Notifications"
#define OBJECT "/org/freedesktop/Notifications"
#define LIBRARY "libdbus-1.so.3"
#define ANSWER_MS 5000
#define TEXT_MAX (LIMIT_PATH + 8 * LIMIT_TEXT)

#define CALLS(X) X(dbus_error_init) X(dbus_connection_open_private) X(dbus_bus_register) X(dbus_connection_send_with_reply_and_block) \
    X(dbus_message_new_method_call) X(dbus_message_append_args) X(dbus_message_iter_init_append) X(dbus_message_iter_open_container) \
    X(dbus_message_iter_close_container) X(dbus_message_iter_append_basic) X(dbus_message_get_args) X(dbus_validate_utf8)

struct calls {
#define POINTER(name) __typeof__(name) *name;
    CALLS(POINTER)
};
struct bus { struct calls call; DBusConnection *connection; DBusError error; };

static int load(struct calls *c)
{
    void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return err_set(ERR_IO, "%s", dlerror());
#define LOAD(name) if (!(c->name = (__typeof__(name) *)dlsym(lib, #name))) return err_set(ERR_IO, LIBRARY " has no " #name);
    CALLS(LOAD)
    return 0;
}

/* False: there is no session, and nobody to be told. */
static bool session_address(struct buf *b)
{
    const char *given = getenv("DBUS_SESSION_BUS_ADDRESS"), *dir = getenv("XDG_RUNTIME_DIR");
    if (given && *given) {
        buf_addf(b, "%s", given);
    } else if (dir && *dir == '/') {
        AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_PATH);
        buf_addf(&path, "%s/bus%c", dir, '\0');
        if (!buf_ok(&path) || access((const char *)path.data, F_OK) < 0)
            return false;
        buf_addf(b, "unix:path=%s/bus", dir);
    }
    buf_add(b, "", 1);
    return buf_ok(b) && b->len > 1;
}

static int bus_failed(struct bus *b, const char *what)
{
    return err_set(ERR_IO, "%s: %s", what, b->error.message ? b->error.message : "no reason is known");
}

static int open_bus(struct bus *b, const char *address)
{
    int r = load(&b->call);
    if (r < 0)
        return r;
    b->call.dbus_error_init(&b->error);
    b->connection = b->call.dbus_connection_open_private(address, &b->error);
    if (!b->connection || !b->call.dbus_bus_register(b->connection, &b->error))
        return bus_failed(b, address);
    return 0;
}

static DBusMessage *ask(struct bus *b, DBusMessage *m)
{
    return m ? b->call.dbus_connection_send_with_reply_and_block(b->connection, m, ANSWER_MS, &b->error) : NULL;
}

/* Whether tags in the text would be obeyed. */
static bool has_markup(struct bus *b)
{
    char **word = NULL;
    int n = 0;
    DBusMessage *answer = ask(b, b->call.dbus_message_new_method_call(SERVICE, OBJECT, SERVICE, "GetCapabilities"));
    if (!answer || !b->call.dbus_message_get_args(answer, &b->error, DBUS_TYPE_ARRAY, DBUS_TYPE_STRING, &word, &n, DBUS_TYPE_INVALID))
        return false;
    for (int i = 0; i < n; i++)
        if (strcmp(word[i], "body-markup") == 0)
            return true;
    return false;
}

/* libdbus ends a process that gives it what is no UTF-8. */
static void add_text(struct bus *b, struct buf *to, const char *text, bool markup)
{
    for (const char *p = b->call.dbus_validate_utf8(text, NULL) ? text : "?"; *p; p++)
        if (markup && (*p == '<' || *p == '>' || *p == '&'))
            buf_add_str(to, *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : "&amp;");
        else
            buf_add(to, p, 1);
}

static int show(struct bus *b, const char *summary, const char *body)
{
    DBusMessage *m = b->call.dbus_message_new_method_call(SERVICE, OBJECT, SERVICE, "Notify");
    const char *name = "Lanyard", *icon = "", **actions = NULL;
    dbus_uint32_t replaces = 0;
    dbus_int32_t expires = -1;                /* as the desktop likes it */
    DBusMessageIter end, hints;
    if (!m || !b->call.dbus_message_append_args(m, DBUS_TYPE_STRING, &name, DBUS_TYPE_UINT32, &replaces, DBUS_TYPE_STRING, &icon,
                                                DBUS_TYPE_STRING, &summary, DBUS_TYPE_STRING, &body,
                                                DBUS_TYPE_ARRAY, DBUS_TYPE_STRING, &actions, 0, DBUS_TYPE_INVALID))
        return err_set(ERR_FULL, "no memory");
    b->call.dbus_message_iter_init_append(m, &end);
    b->call.dbus_message_iter_open_container(&end, DBUS_TYPE_ARRAY, "{sv}", &hints);
    b->call.dbus_message_iter_close_container(&end, &hints);
    b->call.dbus_message_iter_append_basic(&end, DBUS_TYPE_INT32, &expires);
    return ask(b, m) ? 0 : bus_failed(b, SERVICE);
}

static const char *fact(const char *name)
{
    const char *v = getenv(name);
    return v ? v : "";
}

/* The summary of a notification is never markup, its body may be. */
static int tell(struct bus *b)
{
    AUTO(buf_release) struct buf summary = BUF_INIT(TEXT_MAX), body = BUF_INIT(TEXT_MAX);
    bool markup = has_markup(b);
    const char *message = fact("LANYARD_MESSAGE");
    if (strcmp(fact("LANYARD_EVENT"), "locked") == 0) {
        buf_add_str(&summary, "Locked: ");
        add_text(b, &summary, fact("LANYARD_BY"), false);
        buf_add_str(&summary, " requires another version first");
        add_text(b, &body, message, markup);
        buf_add_str(&body, *message ? "\n" : "");
    } else {
        buf_add_str(&summary, "Unlocked");
    }
    add_text(b, &body, fact("LANYARD_FOLDER"), markup);
    buf_add(&summary, "", 1);
    buf_add(&body, "", 1);
    if (!buf_ok(&summary) || !buf_ok(&body))
        return err_set(ERR_FULL, "the text is too long");
    return show(b, (const char *)summary.data, (const char *)body.data);
}

/* What the library keeps goes with the process. */
int notify_helper(void)
{
    AUTO(buf_release) struct buf address = BUF_INIT(LIMIT_PATH);
    struct bus b = {0};
    if (!session_address(&address))
        return 0;
    int r = open_bus(&b, (const char *)address.data);
    if (r == 0)
        r = tell(&b);
    if (r < 0)
        printf("nobody was told: %s\n", err_text());
    fflush(stdout);
    _exit(0);
}
