/* notify: what is worth a notification on the desktop: a lock and its end. A program of its own (`lanyardd notify`), run as a hook is
 * (hook.h) and with the same facts in its environment: so a session bus that hangs holds up nobody, and is done with in time.
 *
 * Without a session bus ($DBUS_SESSION_BUS_ADDRESS, or the socket `bus` in $XDG_RUNTIME_DIR) it does nothing. libdbus is loaded when it is
 * needed; what fails is one line on standard output, which is the log. */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

#define NOTIFY_HELPER "notify"

int notify_helper(void);          /* the whole process: its exit code */

#endif
